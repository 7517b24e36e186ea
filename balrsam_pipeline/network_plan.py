"""NetworkPlan: what a network is built from, as a frozen dataclass <-> JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from balrsam_pipeline.extensions import FORM, is_extension_name
from balrsam_pipeline.plan_checks import require
from balrsam_pipeline.volume_plan import VolumePlan

# Beyond these a plan is damaged or hostile: numbers out of a file are compared before memory is taken for
# them. SAM itself sees 1024 pixels; label files hold 65,535 values.
LARGEST_SIDE, LARGEST_WIDTH, LARGEST_STACK = 4096, 2**16, 256

# marks fields that plans of earlier versions do not have: at their default they do not count in a plan's hash
ADDED = {"added": True}

Backbone = Literal["cnn", "vit_mini", "vit_t", "vit_b", "vit_l", "vit_h"]
DecoderAttention = Literal["low_rank", "exact"]
Shrink = Literal[1, 2, 4]
Surroundings = Literal[0, 2, 4, 8]
Decoder = Literal["sam", "pyramid"]
Pixels = Literal["sam", "0-1", "none"]  # what an encoder saw: SAM's mean and std, 0 to 1, or as normalised
Hypernetworks = Literal["per_class", "shared"]  # the MLPs from a class's token to the weights of its mask
TINY_VIT_STAGES = 3  # of TinyViT that have attention, and so can be adapted


_POSITIVE = ("input_channels", "classes", "cden_width", "decoder_rank")
_COUNTED = ("lora_rank", "adapter_rank", "checkpointed_blocks")


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """Everything `network.build` needs to know.

    `input_size` (y, x) is what the ViT sees, in pixels, multiples of 16; patches are resized to it inside the
    network. `input_channels` counts image channels times slices. `classes` is the number of logit channels.
    Trained from scratch there is nothing frozen to adapt: `lora_rank` and `adapter_rank` are not used then.
    `checkpointed_blocks` of the ViT (global-attention blocks first) compute their activations again in
    backward to save memory.

    Backbones: `vit_mini` is ours and trained from scratch; `vit_t` is TinyViT as in MobileSAM
    (`embedding_stride` 16) and LiteMedSAM (4), adapted only; `vit_b`, `vit_l` and `vit_h` are SAM's. Of
    `vit_t` the last `adapted_stages` get LoRA and adapters, and what comes before them can be computed once
    for each image; of a ViT all blocks are adapted.

    `pixels` says what the encoder was shown in its own training, `input_ranges` which values of each input
    channel are black and white (`planners/rules/value_range.py`); empty: the encoder sees the input as it is.
    With `projection` "fixed", channels other than three are combined as at the start, without training: then
    nothing before the adapted stages changes.

    With `hypernetworks` "shared", class k reads SAM's hypernetwork k modulo 4 instead of a copy of its own.

    `decoder` "sam" is CDEN and SAM's mask decoder; "pyramid" a convolutional feature pyramid that takes in
    what the encoder made of the image (`network/pyramid.py`), quick to train on a CPU; with backbone `cnn`
    there is no encoder at all. Beside a pyramid TinyViT may see the image `encoder_shrink` times smaller:
    what is what needs fewer pixels than where it ends.

    `checkpoint` is the published checkpoint to adapt, by name; empty: the most general one of the backbone.

    With `volume` the network sees patches of volumes, as they are, instead of slices. With `stack` an adapted
    network sees as many neighbouring slices at once, which it resizes like single ones; 0: each alone.

    Where patches are tiles, `surroundings` says how many times wider a second view of each is, which the
    network sees beside it, shrunk to its size, as a second half of the input channels; 0: no such view.

    `extension` names a function of a user's own package that changes the network when it is built.
    """

    backbone: Backbone
    from_scratch: bool
    input_channels: int
    classes: int
    input_size: tuple[int, int]
    lora_rank: int
    lora_alpha: float
    adapter_rank: int
    decoder_attention: DecoderAttention
    decoder_rank: int
    cden_width: int
    mask_stride: Literal[1, 2, 4]
    checkpointed_blocks: int = 0
    embedding_stride: Literal[4, 16] = field(default=16, metadata=ADDED)
    adapted_stages: int = field(default=TINY_VIT_STAGES, metadata=ADDED)
    pixels: Pixels = field(default="none", metadata=ADDED)
    input_ranges: tuple[tuple[float, float], ...] = field(default=(), metadata=ADDED)
    projection: Literal["learnt", "fixed"] = field(default="learnt", metadata=ADDED)
    checkpoint: str = field(default="", metadata=ADDED)
    hypernetworks: Hypernetworks = field(default="per_class", metadata=ADDED)
    decoder: Decoder = field(default="sam", metadata=ADDED)
    encoder_shrink: Shrink = field(default=1, metadata=ADDED)
    volume: VolumePlan | None = field(default=None, metadata=ADDED)
    stack: int = field(default=0, metadata=ADDED)
    surroundings: Surroundings = field(default=0, metadata=ADDED)
    extension: str = field(default="", metadata=ADDED)

    @property
    def depth(self) -> int:
        """Slices of what the network sees at once, where that has three dimensions; else 0."""
        return self.stack if self.volume is None else self.volume.depth

    @property
    def input_shape(self) -> tuple[int, ...]:
        """What the network sees: (y, x) pixels, or (z, y, x) voxels."""
        return (self.depth, *self.input_size) if self.depth else self.input_size

    @property
    def base(self) -> str:
        """The published checkpoint that is adapted where the user names no file."""
        return self.checkpoint or self.backbone

    def __post_init__(self) -> None:
        tiny, stride, ranges = self.backbone == "vit_t", self.embedding_stride, self.input_ranges
        steps = (16, 16) if self.volume is None else self.volume.strides[-1]
        shape = self.input_size if self.volume is None else self.input_shape
        sides = all(
            0 < size <= LARGEST_SIDE and size % step == 0 for size, step in zip(shape, steps, strict=True)
        )
        ordered = len(ranges) in (0, self.input_channels) and all(low < high for low, high in ranges)
        positive, counted = f"from 1 to {LARGEST_WIDTH}", f"from 0 (off) to {LARGEST_WIDTH}"
        checks: list[tuple[str, bool, str]] = [
            ("input_size", sides, f"multiples of {' × '.join(map(str, steps))} up to {LARGEST_SIDE}"),
            *((name, 0 < getattr(self, name) <= LARGEST_WIDTH, positive) for name in _POSITIVE),
            *((name, 0 <= getattr(self, name) <= LARGEST_WIDTH, counted) for name in _COUNTED),
            (
                "from_scratch",
                not (tiny and self.from_scratch) and (self.backbone != "cnn" or self.from_scratch),
                "false for vit_t, which is adapted, true for cnn; vit_mini trains from scratch",
            ),
            ("volume", self.volume is None or self.from_scratch, "none: an adapted network has a stack"),
            (
                "stack",
                self.stack == 0
                or (1 < self.stack <= LARGEST_STACK and not self.from_scratch and self.decoder == "sam"),
                f"0, or 2 to {LARGEST_STACK} slices of a network that adapts SAM, with its decoder",
            ),
            ("embedding_stride", tiny or stride == 16, f"16, that of {self.backbone}"),
            (
                "mask_stride",
                self.decoder == "pyramid" or self.mask_stride <= stride // 4,
                f"at most {stride // 4} for this encoder",
            ),
            ("decoder", self.backbone != "cnn" or self.decoder == "pyramid", "pyramid: cnn is nothing else"),
            (
                "encoder_shrink",
                self.encoder_shrink == 1 or (tiny and self.decoder == "pyramid"),
                "1, but for vit_t with a pyramid",
            ),
            (
                "surroundings",
                self.surroundings == 0 or (self.backbone == "cnn" and self.input_channels % 2 == 0),
                "0, but for cnn with an even number of input_channels",
            ),
            ("adapted_stages", 0 <= self.adapted_stages <= TINY_VIT_STAGES, f"0 (none) to {TINY_VIT_STAGES}"),
            ("extension", not self.extension or is_extension_name(self.extension), FORM),
            ("input_ranges", ordered, "(low, high) of each input channel"),
        ]
        for name, holds, expected in checks:
            require(name, holds, getattr(self, name), expected)
