"""CDEN, the Complementary Detail Enhancement Network: what a ViT of 16-pixel tokens loses at boundaries.

A small pyramid beside the ViT, depthwise-separable throughout: down from 1/2 to 1/16 of the input and up
again to the stride at which masks are decoded. At the embedding's stride it takes in an early feature of the
encoder on the way down and the image embedding on the way up. Receptive fields of a block come from 3×3
depthwise convolutions applied one after the other (3, 5, 7 pixels), all summed: on CPUs plain 3×3 depthwise
has a fast kernel in forward and backward, dilated or larger ones cost 2–10 times as much (measured,
docs/network.md). The slices of a stack are mixed at every stride on the way down.

Source: BALR-SAM, CDEN. Suffixes: b batch, c channels, y x pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.decoder import UPSCALED, DetailMap
from balrsam_pipeline.network.layers import RECOMPUTE_TOKENS, LayerNorm2d, recompute
from balrsam_pipeline.network.stack import AlongSlices
from balrsam_pipeline.network.stock_sam import EMBEDDING
from balrsam_pipeline.plan import NetworkPlan


class DetailBlock(nn.Module):
    """Depthwise 3×3 cascade (several receptive fields), norm, ReLU, pointwise; added to its input."""

    def __init__(self, channels: int, fields: int) -> None:
        super().__init__()
        self.depthwise = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels) for _ in range(fields)
        )
        self.norm = LayerNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)

    def forward(self, x_bcyx: Tensor) -> Tensor:
        """(b, c, y, x) -> (b, c, y, x)."""
        field = total = self.depthwise[0](x_bcyx)
        for layer in list(self.depthwise)[1:]:
            field = layer(field)
            total = total + field
        out: Tensor = x_bcyx + self.pointwise(functional.relu(self.norm(total)))
        return out


class Down(nn.Module):
    """Half the side: depthwise 3×3 of stride 2, norm, pointwise to the next width."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, stride=2, padding=1, groups=before)
        self.norm = LayerNorm2d(before)
        self.pointwise = nn.Conv2d(before, after, 1)

    def forward(self, x_bcyx: Tensor) -> Tensor:
        """(b, before, y, x) -> (b, after, y/2, x/2)."""
        out: Tensor = self.pointwise(self.norm(self.depthwise(x_bcyx)))
        return out


class Fuse(nn.Module):
    """Coarse map narrowed and enlarged, added to the finer one, then a block."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.lateral = nn.Conv2d(coarse, fine, 1)
        self.block = nn.Sequential(DetailBlock(fine, 1), DetailBlock(fine, 1))

    def forward(self, coarse_bcyx: Tensor, fine_bcyx: Tensor) -> Tensor:
        """Shape of `fine_bcyx`."""
        enlarged = functional.interpolate(
            self.lateral(coarse_bcyx), size=fine_bcyx.shape[-2:], mode="nearest"
        )
        out: Tensor = self.block(fine_bcyx + enlarged)
        return out


class Cden(nn.Module):
    """The detail network.

    Args:
        network: `cden_width` is the width at stride 2 (doubling to 4x at stride 8 and 16); `mask_stride` how
            fine it goes back up.
        channels: channels of the image it is given.
        early_channels: of the encoder's early feature.

    Its output projections start at zero where a checkpoint is adapted, so that the network starts as SAM;
    from scratch there is nothing to preserve and they start as any layer does.
    """

    def __init__(self, network: NetworkPlan, channels: int, early_channels: int) -> None:
        super().__init__()
        width = network.cden_width
        widths = {1: max(width // 2, 8), 2: width, 4: 2 * width, 8: 4 * width, 16: 4 * width}
        fields = {2: 1, 4: 2, 8: 3, 16: 3}
        self.embedding_stride = at = network.embedding_stride
        self.mask_strides = [stride for stride in (4, 2, 1) if at // 4 >= stride >= network.mask_stride]
        self.stem = nn.Sequential(nn.Conv2d(channels, width, 3, stride=2, padding=1), LayerNorm2d(width))
        self.full_stem = nn.Conv2d(channels, widths[1], 3, padding=1) if network.mask_stride == 1 else None
        self.downs = nn.ModuleDict(
            {str(stride): Down(widths[stride // 2], widths[stride]) for stride in (4, 8, 16)}
        )
        self.stages = nn.ModuleDict(
            {
                str(stride): nn.Sequential(
                    *(DetailBlock(widths[stride], fields[stride]) for _ in range(2)),
                    *([AlongSlices(widths[stride], network.stack, after=2)] if network.stack else []),
                )
                for stride in (2, 4, 8, 16)
            }
        )
        self.early = nn.Conv2d(early_channels, widths[at], 1)
        self.to_embedding = nn.Conv2d(widths[at], EMBEDDING, 1)
        self.from_embedding = nn.Conv2d(EMBEDDING, widths[at], 1)
        up_strides = [stride for stride in (8, 4, 2, 1) if stride >= min(network.mask_stride, 4)]
        self.fuses = nn.ModuleDict(
            {str(stride): Fuse(widths[2 * stride], widths[stride]) for stride in up_strides}
        )
        self.to_masks = nn.ParameterDict(
            {
                str(stride): torch.randn(UPSCALED, widths[stride]) * UPSCALED**-0.5
                for stride in self.mask_strides
            }
        )
        self.boundary: nn.Conv2d | None = nn.Conv2d(widths[4], 1, 1)
        if not network.from_scratch:
            for tensor in (self.to_embedding.weight, self.to_embedding.bias, *self.to_masks.values()):
                if tensor is not None:
                    nn.init.zeros_(tensor)

    def forward(
        self, image_bcyx: Tensor, early_bcyx: Tensor, embedding_bcyx: Tensor
    ) -> tuple[Tensor, tuple[DetailMap, ...], Tensor | None]:
        """Detail of an image.

        Args:
            image_bcyx: the image at the input size.
            early_bcyx: the encoder's early feature, at the embedding's stride, taken in on the way down.
            embedding_bcyx: the image embedding, taken in on the way up: it says what the detail is detail of.

        Returns:
            what to add to the image embedding, of its shape; the maps for the masks, coarse to fine;
            boundary logits (b, 1, y/4, x/4) in training.
        """
        large = early_bcyx.shape[2] * early_bcyx.shape[3] >= RECOMPUTE_TOKENS
        image_bcyx = image_bcyx.contiguous(
            memory_format=torch.channels_last
        )  # so that every map is, and none is copied to add
        maps = {2: recompute(self._start, image_bcyx, when=large)}
        for stride in (4, 8, 16):
            x = recompute(self.downs[str(stride)], maps[stride // 2], when=large)
            if stride == self.embedding_stride:
                x = x + self.early(early_bcyx)
            maps[stride] = recompute(self.stages[str(stride)], x, when=large)
        if self.full_stem is not None:
            maps[1] = self.full_stem(image_bcyx)
        fused = {16: maps[16]}
        detail_bcyx = embedding_bcyx
        for stride in (16, *map(int, self.fuses)):
            if stride < 16:
                fused[stride] = recompute(
                    self.fuses[str(stride)], fused[2 * stride], maps[stride], when=large
                )
            if stride == self.embedding_stride:
                detail_bcyx = self.to_embedding(fused[stride])
                fused[stride] = fused[stride] + self.from_embedding(embedding_bcyx)
        details = tuple(
            DetailMap(stride, fused[stride], self.to_masks[str(stride)]) for stride in self.mask_strides
        )
        boundary = self.boundary(fused[4]) if self.boundary is not None and self.training else None
        return detail_bcyx, details, boundary

    def _start(self, image_bcyx: Tensor) -> Tensor:
        """The image to the map at stride 2."""
        out: Tensor = self.stages["2"](self.stem(image_bcyx))
        return out
