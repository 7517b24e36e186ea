"""The pretrained checkpoint: what images it has seen, by the channel names, and the size the hardware allows.
And the ranks and widths of the parts that train with it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from balrsam_pipeline.fingerprint import ChannelStatistics, Fingerprint
from balrsam_pipeline.network import ENCODER_S_PER_MEGAPIXEL, FROM_SCRATCH, preset
from balrsam_pipeline.network.official_checkpoints import DOMAIN_WORDS, PUBLISHED, Domain, published
from balrsam_pipeline.plan import TINY_VIT_STAGES, Backbone, NetworkPlan, Normalization, Shrink
from planners.hardware import Hardware
from planners.rules import Decision
from planners.rules.value_range import value_range

# words in channel names -> domain; the first that fits decides. Matched as whole words, whatever their case.
WORDS: tuple[tuple[Domain, str], ...] = (
    ("histopathology", r"h\W?&\W?e|h_?e|hematoxylin|haematoxylin|eosin|histology|histopathology|wsi"),
    (
        "electron_microscopy",
        r"em|sem|tem|fib[\W_]?sem|sbf[\W_]?sem|stem|electron(?!.*densit).*",
    ),
    (
        "light_microscopy",
        r"dapi|gfp|rfp|yfp|cfp|mcherry|hoechst|fluo(?!roscop|rescein|ro$)\w*|dic|bright[\W_]?field|nucle[ui]s?"
        r"|nuclei|confocal|light[\W_]?sheet|cells?|membrane|cytoplasm"
        r"|micro(?![\W_]?(ct|us|ultrasound|mri?|pet|spect|bleed|calci|bubble))\w*",
    ),
    (
        "medical",
        r"ct|cbct|mri?|t1\w*|t2\w*|flair|adc|dwi|swi|pd\w*|magnitude|pet|spect|us|ultrasound|echo\w*|x\W?ray|xr|cr"
        r"|dx|fluoro(scop\w*)?|mammo\w*|oct|cta|mra|bold|dce|cine|angio\w*|micro[\W_]?(ct|us|ultrasound|mri?)"
        r"|(photo|opto)[\W_]?acoustic\w*",
    ),
    (
        "natural",
        r"r|g|b|rgb|rgb_to_0_1|red|green|blue|fundus|fluorescein.*|endoscop\w*|colonoscop\w*|dermoscop\w*"
        r"|photo(?![\W_]?acoustic)\w*|colou?r",
    ),
    ("light_microscopy", r"phase[\W_]?contrast"),  # of MR too, but there beside another channel
)
# and in pictures: volumes whose channel is called so are of MR, or the dataset's channels are scans in turn
WORDS_OF_PICTURES: tuple[tuple[Domain, str], ...] = (("light_microscopy", r"phase"),)
MICROSCOPY: tuple[Domain, ...] = ("histopathology", "electron_microscopy", "light_microscopy")
# GB of the cards, as they are sold, on which a backbone adapts at a useful input and batch size
# (docs/planning.md); largest first
NEEDS_GB: tuple[tuple[Backbone, float], ...] = (
    ("vit_h", 80.0),
    ("vit_l", 40.0),
    ("vit_b", 6.0),
    ("vit_t", 0.0),
)
# a twentieth of twenty minutes on two cores, a fifth of five: the encoder sees smaller slices where looking
# at each of them so often (once as it is, else augmented) takes longer. Half the size and three copies
# instead of none gained 0.03 Dice with 83 colour pictures of large objects, and with the last stage adapted
# 0.015 with 25 (docs/benchmarks.md, one seed)
ENCODING_S = 120.0
VIEWS = 6
SHRINKS: tuple[Shrink, ...] = (1, 2, 4)
SMALLEST_ENCODED = 96  # pixels of the longer side below which it is not made smaller
# of the encoder's pixels that the thinnest label spans at least where it sees smaller slices for more views
THICK = 16.0
COLOURS = 3  # channels
# colour pictures on a CPU that TinyViT is run for: nuclei in 90 of them (DSB2018, most of them grey, fold 0,
# 5 core-minutes) scored 0.925 with what it makes of them and 0.896 without; of more, the first look at each
# takes too long: a seventh of a second at 112 × 80, so 7 of the 40 core-minutes of 20 on two cores
MOST_ENCODED = 3000
# channels are alike where their mean and spread differ by less than this share of the spread, in so many of
# the cases: one coloured mark, or a few pictures in colours, make no dataset of colours. One in eight of
# DSB2018's pictures is coloured, and the encoder gained there
ALIKE, MOSTLY = 0.01, 0.95
SMALL = "lite_medsam"  # what hardware of little memory can encode: 256 pixels at stride 4
# one for each domain and backbone, where several are published: MedSAM's was trained on the most modalities
PREFERRED = ("medsam", "lite_medsam", "sam_vit_b", "sam_vit_l", "sam_vit_h")


def channels_are_alike(fingerprint: Fingerprint) -> bool:
    """Whether all channels show the same greys, as of pictures saved in three of them."""
    if len(set(fingerprint.channel_statistics)) == 1:
        return True
    shown = [case.channel_statistics for case in fingerprint.cases if case.channel_statistics]
    return bool(shown) and sum(map(_are_alike, shown)) >= MOSTLY * len(shown)


def _are_alike(channels: tuple[ChannelStatistics, ...]) -> bool:
    means, spreads = [one.mean for one in channels], [one.std for one in channels]
    return max(max(values) - min(values) for values in (means, spreads)) <= ALIKE * max(spreads)


def domain(channel_names: tuple[str, ...], *, pictures: bool = False) -> Decision[Domain]:
    """What kind of images the channel names speak of.

    Args:
        pictures: whether the images are 2D, not volumes.

    >>> domain(("CT",)).value, domain(("R", "G", "B")).value, domain(("DAPI", "GFP")).value
    ('medical', 'natural', 'light_microscopy')
    """
    said = ", ".join(channel_names)
    for found, pattern in WORDS + (WORDS_OF_PICTURES if pictures else ()):
        if any(re.fullmatch(pattern, name.strip(), re.IGNORECASE) for name in channel_names):
            return Decision(found, f"channels {said}: {DOMAIN_WORDS[found]}")
    return Decision("medical", f"channels {said} are of no kind known by name, so taken for medical images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What a network starts from: `checkpoint` is a published one by name, empty from scratch."""

    backbone: Backbone
    checkpoint: str = ""


def base(
    channel_names: tuple[str, ...],
    hardware: Hardware,
    backbone: Backbone | None = None,
    checkpoint: str | None = None,
    pictures: int = 0,
    without: str = "",
) -> Decision[Base]:
    """The backbone and the published checkpoint to adapt.

    Args:
        pictures: how many 2D images there are; 0 of volumes.
        without: why no pretrained encoder helps on a CPU, where that is known.
        backbone: what the user asks for; "vit_mini" trains a small network from scratch.
        checkpoint: the published checkpoint that the user asks for.

    Raises:
        CheckpointError: no published checkpoint of that name.
    """
    if checkpoint is not None:
        item = published(checkpoint)
        return Decision(
            Base(backbone=item.backbone, checkpoint=item.name),
            f"{item.name} was asked for: {item.backbone}, trained on {DOMAIN_WORDS[item.domain]}",
        )
    if backbone in FROM_SCRATCH:
        return Decision(
            Base(backbone=backbone), f"{backbone} was asked for: trained from scratch, nothing adapted"
        )
    if hardware.gpu_memory_gb is None and backbone is None:
        colour = len(channel_names) == COLOURS and domain(channel_names).value == "natural"
        if colour and 0 < pictures <= MOST_ENCODED and not without:
            return Decision(
                Base(backbone="vit_t", checkpoint=SMALL),
                f"{hardware}; colour pictures vary more than {pictures} of them show, and what {SMALL} knows "
                "of others helps; it runs once for each",
            )
        if not without and pictures > MOST_ENCODED:
            without = f"a first look at each of {pictures} pictures would take it too long"
        because = f"; no pretrained encoder, since {without}" if colour and without else ""
        return Decision(
            Base(backbone="cnn"),
            f"{hardware}; cnn, a small pyramid of convolutions, learns soonest there{because}",
        )
    if largest_backbone(hardware) == "vit_t" and backbone in (None, "vit_t"):
        return Decision(
            Base(backbone="vit_t", checkpoint=SMALL),
            f"{hardware}; {SMALL} (TinyViT) sees 256 pixels and was trained on eleven kinds of medical "
            "images",
        )
    chosen = recommended(channel_names, hardware, backbone, pictures=pictures > 0)
    item = PUBLISHED[chosen.value]
    asked = "" if backbone is None else f"{backbone} was asked for; "
    return Decision(Base(backbone=item.backbone, checkpoint=item.name), asked + chosen.reason)


def largest_backbone(hardware: Hardware) -> Backbone:
    """The largest backbone that adapts on the hardware; on a CPU TinyViT."""
    return next(backbone for backbone, needed in NEEDS_GB if hardware.is_sold_with(needed))


def recommended(
    channel_names: tuple[str, ...],
    hardware: Hardware,
    backbone: Backbone | None = None,
    *,
    pictures: bool = False,
) -> Decision[str]:
    """The published checkpoint to adapt: of the images' own domain, as large as the hardware allows.

    Args:
        backbone: take this one, whatever the hardware.
        pictures: whether the images are 2D, not volumes.
    """
    kind = domain(channel_names, pictures=pictures)
    order = [name for name, _ in NEEDS_GB]
    allowed = [backbone] if backbone else order[order.index(largest_backbone(hardware)) :]
    for size in allowed:
        of_size = [item for item in PUBLISHED.values() if item.backbone == size and item.domain == kind.value]
        if of_size:
            chosen = min(of_size, key=lambda item: item.name not in PREFERRED)
            others = [item.name for item in PUBLISHED.values() if item.backbone == size and item != chosen]
            more = f"; --checkpoint takes another of its size: {', '.join(others)}" if others else ""
            return Decision(
                chosen.name,
                f"{kind.reason}; {hardware}; {chosen.name} ({size}) was trained on "
                f"{DOMAIN_WORDS[kind.value]}{more}",
            )
    size = allowed[0]
    general = next(
        item
        for item in PUBLISHED.values()
        if item.backbone == size and item.name.startswith(("sam_", "mobile"))
    )
    return Decision(
        general.name,
        f"{kind.reason}, for which no {size} is published; {hardware}; {general.name} knows natural images",
    )


def encoder_shrink(slices: int, input_yx: tuple[int, int], thickness_px: float) -> Decision[Shrink]:
    """How many times smaller than the pyramid beside it TinyViT sees slices on a CPU.

    Args:
        slices: of all cases; what is frozen runs once for each, and once for each augmented copy.
        thickness_px: of the thinnest label, in pixels of the input.
    """
    once_s = slices * input_yx[0] * input_yx[1] * ENCODER_S_PER_MEGAPIXEL / 1e6
    least = max(input_yx) // SMALLEST_ENCODED
    for shrink in SHRINKS:
        views = VIEWS if thickness_px / (2 * shrink) >= THICK else 1
        if views * once_s / shrink**2 <= ENCODING_S or 2 * shrink > max(least, 1):
            break
    smaller = "at the input's size" if shrink == 1 else f"{shrink} times smaller"
    return Decision(
        shrink,
        "the encoder runs once for a slice and once for each of its copies, not in every step, and sees them "
        f"{smaller}: about {once_s / shrink**2:.0f} core-seconds for {slices} slices, "
        f"{thickness_px / shrink:.0f} of its pixels across the thinnest label",
    )


def adapted_stages(shrink: int, thickness_px: float, *, pictures: bool) -> Decision[int]:
    """How many of TinyViT's stages train beside a pyramid on a CPU.

    Args:
        shrink: how many times smaller than the pyramid the encoder sees slices.
        thickness_px: of the thinnest label, in pixels of the input.
        pictures: whether the dataset is of pictures, not of volumes.
    """
    if pictures and shrink > 1 and thickness_px / shrink >= THICK:
        return Decision(
            1,
            "pictures with thick labels vary, and seen smaller a step costs little enough: LoRA and adapters "
            "of its last stage train",
        )
    return Decision(0, "it stays frozen as a whole")


def encoder_pixels(
    checkpoint: str,
    schemes: tuple[Normalization, ...],
    statistics: tuple[ChannelStatistics, ...],
    slices: int,
) -> dict[str, Any]:
    """What the encoder of the checkpoint saw, and which of our values are black and white to it: settings of
    a network plan; none without a published checkpoint.

    Args:
        slices: that a patch shows, each with all channels.
    """
    item = PUBLISHED.get(checkpoint)
    if item is None:
        return {}
    ranges = tuple(value_range(scheme, own) for scheme, own in zip(schemes, statistics, strict=True))
    return {
        "checkpoint": item.name,
        "pixels": item.pixels,
        "embedding_stride": item.embedding_stride,
        "input_ranges": ranges * slices,
    }


def network_preset(backbone: Backbone, *, cpu: bool = False) -> Decision[NetworkPlan]:
    """A network of the backbone whose ranks and widths are to be used; sizes, channels and classes are other
    rules' matter.

    Args:
        cpu: whether a CPU trains. TinyViT is frozen there (but see `adapted_stages`), and with it the
            combination of channels to its three: what it makes of a slice is the same throughout training, so
            it is computed once.

    Source: BALR-SAM, arXiv 2509.24204.
    """
    network = preset(backbone)
    if network.from_scratch:
        return Decision(network, "nothing is frozen, so there is nothing to adapt: no LoRA, no adapters")
    if backbone == "vit_t" and cpu:
        return Decision(
            replace(
                network,
                adapted_stages=0,
                projection="fixed",
                decoder="pyramid",
                cden_width=preset("cnn").cden_width,
            ),
            "on a CPU a convolutional pyramid that takes in the encoder's output trains",
        )
    blocks = "every block"
    if backbone == "vit_t":
        blocks = f"the blocks of the last {network.adapted_stages} of {TINY_VIT_STAGES} stages with attention"
    return Decision(
        network,
        f"the paper's: under 2 % of SAM trains, LoRA rank {network.lora_rank} and adapters of rank "
        f"{network.adapter_rank} in {blocks}",
    )
