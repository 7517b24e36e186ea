"""The TinyViT image encoder of MobileSAM and LiteMedSAM: frozen, with LoRA and adapters in its last stages.

A chain of modules, cut in two: the prefix, everything before the first trained block, gives the same for an
image for ever and can be kept; the suffix is what trains. What is kept for an image of 256×256 pixels without
stride, or 1024×1024 with (numbers of 2 bytes): 4.0 MiB with three adapted stages, 1.25 MiB with two or one,
3.25 MiB (embedding and CDEN's feature) with none. For that the cut before the last stage lies before the
patch merging, which doubles the channels.

Suffixes: b batch, y x token rows and columns, c channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from balrsam_pipeline.network.layers import Features, LayerNorm2d, recompute
from balrsam_pipeline.network.stock_sam import EMBEDDING
from balrsam_pipeline.network.tiny_vit_layers import (
    MbConv,
    PatchEmbedding,
    PatchMerging,
    TinyBlock,
    WindowAttention,
)
from balrsam_pipeline.plan import NetworkPlan

# Source: MobileSAM's build_sam.py (TinyViT-5M); the same in LiteMedSAM.
WIDTHS = (64, 128, 160, 320)
DEPTHS = (2, 2, 6, 2)
HEADS = (2, 4, 5, 10)
WINDOWS = (7, 7, 14, 7)
MERGING_STRIDES = (2, 2, 1)
# CDEN reads this stage's output: the last before channels double, and kept anyway before the last stage
EARLY_STAGE = 2


class Stage(nn.Module):
    """Blocks of one width, and the merging to the next; run by `TinyVit`, which may cut between them."""

    def __init__(self, index: int) -> None:
        super().__init__()
        width, depth = WIDTHS[index], DEPTHS[index]
        blocks = [
            MbConv(width) if index == 0 else TinyBlock(width, HEADS[index], WINDOWS[index])
            for _ in range(depth)
        ]
        self.blocks = nn.ModuleList(blocks)
        last = index == len(WIDTHS) - 1
        self.downsample = None if last else PatchMerging(width, WIDTHS[index + 1], MERGING_STRIDES[index])

    @property
    def adaptable(self) -> list[TinyBlock]:
        """The blocks with attention."""
        return [block for block in self.blocks if isinstance(block, TinyBlock)]


class TinyVit(nn.Module):
    """TinyViT; parameter names are the files', but for what `tiny_vit_weights` says.

    Args:
        network: embedding stride, ranks, how many stages are adapted.
        channels: of the image it is given.
    """

    early_channels = WIDTHS[EARLY_STAGE]

    def __init__(self, network: NetworkPlan, channels: int) -> None:
        super().__init__()
        self.adapted_stages = network.adapted_stages
        self.checkpointed = network.checkpointed_blocks
        self.patch_embed = PatchEmbedding(channels, WIDTHS[0], strided=network.embedding_stride == 16)
        self.layers = nn.ModuleList(Stage(index) for index in range(len(WIDTHS)))
        self.neck = nn.Sequential(
            nn.Conv2d(WIDTHS[-1], EMBEDDING, kernel_size=1, bias=False),
            LayerNorm2d(EMBEDDING),
            nn.Conv2d(EMBEDDING, EMBEDDING, kernel_size=3, padding=1, bias=False),
            LayerNorm2d(EMBEDDING),
        )
        for stage in self.stages[len(WIDTHS) - network.adapted_stages :]:
            for block in stage.adaptable:
                block.adapt(network)

    @property
    def stages(self) -> list[Stage]:
        """The stages; `layers` is their name in the files."""
        return [stage for stage in self.layers if isinstance(stage, Stage)]

    def forward(self, image_bcyx: Tensor) -> tuple[Tensor, Tensor]:
        """The image embedding (b, 256, y, x) and CDEN's early feature (b, y, x, 160)."""
        return self.suffix(self.prefix(image_bcyx))

    def prefix(self, image_bcyx: Tensor) -> Features:
        """Everything before the first trained block; no gradients where nothing up to there is trained."""
        before, _ = self._halves()
        learns = image_bcyx.requires_grad or any(
            parameter.requires_grad for step in before for parameter in step.parameters()
        )
        with torch.set_grad_enabled(torch.is_grad_enabled() and learns):
            tokens_byxc, early_byxc = self._run(before, image_bcyx, None)
        if self.adapted_stages:
            return Features(tokens_byxc)
        return Features(tokens_byxc, early_byxc)

    def suffix(self, features: Features) -> tuple[Tensor, Tensor]:
        """From what was kept to embedding and early feature, as `forward` returns them."""
        _, after = self._halves()
        tokens_byxc, early_byxc = self._run(after, features.tokens_byxc, features.early_byxc)
        if early_byxc is None:
            early_byxc = features.tokens_byxc  # one adapted stage: the suffix starts from it
        return tokens_byxc.permute(0, 3, 1, 2), early_byxc

    def compute_again(self) -> bool:
        """From now on keep nothing inside trained blocks for backward; whether that is less than before."""
        blocks = sum(isinstance(step, TinyBlock) for step in self._halves()[1])
        before, self.checkpointed = self.checkpointed, max(self.checkpointed, blocks)
        return before != self.checkpointed

    def merge_lora(self) -> None:
        """Fold every LoRA into the projection it updates; afterwards inference pays nothing for it."""
        for module in self.modules():
            if isinstance(module, WindowAttention) and module.lora is not None:
                with torch.no_grad():
                    module.qkv.weight += module.lora.weight_update()
                module.lora = None

    def _run(
        self, steps: list[nn.Module], x: Tensor, early_byxc: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        early_step = self.stages[EARLY_STAGE].blocks[-1]
        blocks = 0
        for step in steps:
            if step is self.neck:
                x = self.neck(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
                continue
            blocks += isinstance(step, TinyBlock)
            x = recompute(step, x, when=isinstance(step, TinyBlock) and blocks <= self.checkpointed)
            if step is early_step:
                early_byxc = x
        return x, early_byxc

    def _halves(self) -> tuple[list[nn.Module], list[nn.Module]]:
        """The modules of prefix and suffix, in order."""
        steps = list(self._steps())
        last_stage = [*self.stages[-1].blocks, self.neck]
        starts = {
            0: len(steps),
            1: len(steps) - len(last_stage) - 1,  # before the merging: half the channels
            2: steps.index(self.stages[2].blocks[0]),
            3: steps.index(self.stages[1].blocks[0]),
        }
        start = starts[self.adapted_stages]
        return steps[:start], steps[start:]

    def _steps(self) -> Iterator[nn.Module]:
        yield self.patch_embed
        for stage in self.stages:
            yield from stage.blocks
            if stage.downsample is not None:
                yield stage.downsample
        yield self.neck
