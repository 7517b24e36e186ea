"""BALR-SAM over volumes, trained from scratch: tokens, CDEN and class tokens, all in three dimensions.

The detail network goes down to the level of the tokens and up again to every voxel, in dense convolutions.
The tokens of its coarsest map attend to each other; SAM's two-way transformer carries them to the class
tokens and back; and each class token's 32 weights read its mask from the finest map, as in slices. In
training the coarser maps are read as well (deep supervision).

Suffixes: b batch, c channels, k classes, z y x voxels, s image tokens, t class tokens.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.backbone_shapes import BACKBONES
from balrsam_pipeline.network.decoder import UPSCALED, Hypernetworks, Transformer
from balrsam_pipeline.network.layers import Features, Linear, shrunk
from balrsam_pipeline.network.model import TrainingOutput
from balrsam_pipeline.network.stock_sam import EMBEDDING, MASK_TOKENS
from balrsam_pipeline.network.volume_layers import ConvBlock, Fuse3d, TokenBlock
from balrsam_pipeline.plan import NetworkPlan
from balrsam_pipeline.volume_plan import VolumePlan, Zyx

TOKEN_LAYERS = 4  # more than these gained nothing on the hippocampus, whose patch has 175 tokens
SUPERVISED = 2  # coarser levels that are read in training: those at strides 2 and 4
POSITION_STD = 0.02


class VolumeEncoder(nn.Module):
    """The way down: two convolutions a level, the first with the level's stride."""

    def __init__(self, volume: VolumePlan, channels: int) -> None:
        super().__init__()
        before, steps = (channels, *volume.widths[:-1]), ((1, 1, 1), *volume.pooling)
        self.levels = nn.ModuleList(
            nn.Sequential(ConvBlock(first, width, kernel, step), ConvBlock(width, width, kernel))
            for first, width, kernel, step in zip(before, volume.widths, volume.kernels, steps, strict=True)
        )

    def forward(self, image_bczyx: Tensor) -> list[Tensor]:
        """The map of every level, fine to coarse."""
        maps = [image_bczyx]
        for level in self.levels:
            maps.append(level(maps[-1]))
        return maps[1:]


class VolumeTokens(nn.Module):
    """The coarsest map as tokens that attend to each other, and the two-way transformer with class tokens."""

    def __init__(self, network: NetworkPlan, channels: int, sides: Zyx) -> None:
        super().__init__()
        shape, tokens = BACKBONES[network.backbone], math.prod(sides)
        self.sides = sides
        self.embed = Linear(channels, shape.width)
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, shape.width))
        nn.init.trunc_normal_(self.pos_embed, std=POSITION_STD)
        self.blocks = nn.ModuleList(TokenBlock(shape.width, shape.heads) for _ in range(TOKEN_LAYERS))
        self.neck = nn.Sequential(Linear(shape.width, EMBEDDING), nn.LayerNorm(EMBEDDING))
        self.class_tokens = nn.Parameter(torch.empty(network.classes, EMBEDDING).normal_())
        self.decoder_positions = nn.Parameter(torch.empty(tokens, EMBEDDING).normal_(std=POSITION_STD))
        self.transformer = Transformer(network)
        self.back = Linear(EMBEDDING, channels)

    def forward(self, map_bczyx: Tensor) -> tuple[Tensor, Tensor]:
        """What to add to the coarsest map, of its shape, and the class tokens (b, k, 256)."""
        b, c, *sides = map_bczyx.shape
        map_bsc = map_bczyx.permute(0, 2, 3, 4, 1).reshape(b, -1, c)
        tokens_bsc = self.embed(map_bsc) + self._placed(self.pos_embed[0], sides)
        for block in self.blocks:
            tokens_bsc = block(tokens_bsc)
        start_btc = self.class_tokens.expand(b, -1, -1)
        classes_bkc, image_bsc = self.transformer(
            start_btc, self.neck(tokens_bsc), self._placed(self.decoder_positions, sides)
        )
        back: Tensor = self.back(image_bsc)
        return back.view(b, *sides, c).permute(0, 4, 1, 2, 3), classes_bkc

    def _placed(self, positions_sc: Tensor, sides: list[int]) -> Tensor:
        """What is learnt of the places of the patch's cells, for one that is seen in `sides` cells (z, y, x):
        between them linearly."""
        if tuple(sides) == self.sides:
            return positions_sc
        grid_1czyx = positions_sc.view(1, *self.sides, -1).permute(0, 4, 1, 2, 3)
        return functional.interpolate(grid_1czyx, size=sides, mode="trilinear").flatten(2)[0].T


def token_sides(network: NetworkPlan, volume: VolumePlan) -> Zyx:
    """How many tokens a network over volumes has along z, y and x: cells of its coarsest map."""
    z, y, x = (size // step for size, step in zip(network.input_shape, volume.strides[-1], strict=True))
    return z, y, x


class VolumeBalrSam(nn.Module):
    """The network of a plan with a `volume`, with random weights.

    Args:
        network: what to build.

    Raises:
        ValueError: the plan's network sees slices.
    """

    def __init__(self, network: NetworkPlan) -> None:
        super().__init__()
        if network.volume is None:
            raise ValueError("a network over slices")
        self.network, volume = network, network.volume
        self._coarser = 1
        self.encoder = VolumeEncoder(volume, network.input_channels)
        self.tokens = VolumeTokens(network, volume.widths[-1], token_sides(network, volume))
        pairs = list(zip(itertools.pairwise(volume.widths), volume.kernels, strict=False))
        self.fuses = nn.ModuleList(Fuse3d(coarse, fine, kernel) for (fine, coarse), kernel in pairs)
        shared = network.hypernetworks == "shared"
        count = min(MASK_TOKENS, network.classes) if shared else network.classes
        self.hypernetworks = Hypernetworks(network.classes, count)
        self.to_masks = nn.ParameterList(
            torch.randn(UPSCALED, width) * UPSCALED**-0.5 for width in volume.widths[: 1 + SUPERVISED]
        )

    def forward(self, image: Tensor, features: Features | None = None) -> Tensor:
        """Segment patches.

        Args:
            image: (b, c, z, y, x) float, normalised as the plan says, of the plan's patch size.
            features: of no use here; nothing is frozen that could be kept.

        Returns:
            logits (b, k, z, y, x).
        """
        return self.forward_training(image, features).logits

    def forward_training(self, image: Tensor, features: Features | None = None) -> TrainingOutput:
        """As `forward`, with the logits of coarser levels (none in eval mode)."""
        if features is not None:
            raise ValueError("a network from scratch has no kept features")
        size = list(image.shape[2:])
        if self._coarser > 1:
            image = seen_smaller(image, self._smaller(size))
        maps = self.encoder(image.contiguous(memory_format=torch.channels_last_3d))
        added_bczyx, classes_bkc = self.tokens(maps[-1])
        maps[-1] = maps[-1] + added_bczyx
        for level in reversed(range(len(self.fuses))):
            maps[level] = self.fuses[level](maps[level + 1], maps[level])
        weights_bkc = self.hypernetworks(classes_bkc)
        levels = range(len(self.to_masks) if self.training else 1)
        logits, *coarser = (read_masks(maps[level], weights_bkc, self.to_masks[level]) for level in levels)
        if logits.shape[2:] != tuple(size):
            logits = functional.interpolate(logits, size=size, mode="trilinear")
        return TrainingOutput(logits, None, tuple(coarser))

    def _smaller(self, size: list[int]) -> Zyx:
        """Sides of a patch seen `_coarser` times smaller along the axes that the network pools first, rounded
        up to whole cells of its coarsest level."""
        if self.network.volume is None:
            raise ValueError("a network over slices")
        first, strides = (*self.network.volume.pooling, (1, 1, 1))[0], self.network.volume.strides[-1]
        z, y, x = (
            side if factor == 1 else -(-side // (self._coarser * stride)) * stride
            for side, factor, stride in zip(size, first, strides, strict=True)
        )
        return z, y, x

    def train_coarser(self, times: int) -> bool:
        """From now on see patches this many times smaller along the axes that are pooled first, in training
        and its quick validation: with half the sides a step takes a quarter to a fifth of its time. Returns
        whether they are seen smaller: one cell of the coarsest level is the least."""
        self._coarser = times
        return self._smaller(list(self.network.input_shape)) != tuple(self.network.input_shape)

    def compute_again(self) -> bool:
        """There are no blocks of an encoder to compute again."""
        return False

    def merge_for_inference(self) -> None:
        """There is nothing to fold."""


def seen_smaller(image_bczyx: Tensor, sides: Zyx) -> Tensor:
    """A patch with sides of fewer voxels, each the mean of what it covers. Where sides do not divide, MPS has
    no kernel for means, and voxels lie linearly between two there."""
    steps = [side / smaller for side, smaller in zip(image_bczyx.shape[2:], sides, strict=True)]
    if all(step.is_integer() for step in steps):
        return shrunk(image_bczyx, tuple(map(int, steps)))
    if image_bczyx.device.type == "mps":
        return functional.interpolate(image_bczyx, size=list(sides), mode="trilinear")
    return functional.adaptive_avg_pool3d(image_bczyx, sides)


def read_masks(map_bczyx: Tensor, weights_bkc: Tensor, projection: Tensor) -> Tensor:
    """The masks (b, k, z, y, x) that 32 weights a class read from a map, whose `projection` (32, c) to 32
    channels is carried to the weights."""
    b, c, *sides = map_bczyx.shape
    flat_bpc = map_bczyx.permute(0, 2, 3, 4, 1).reshape(b, -1, c)
    return ((weights_bkc @ projection) @ flat_bpc.transpose(1, 2)).view(b, -1, *sides)
