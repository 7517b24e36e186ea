"""The pyramid: a convolutional feature pyramid that reads masks off its own maps, for training on a CPU.

Down from the finest masks' stride to 1/32 of the input and up again, plain 3×3 convolutions, GroupNorm, a
residual block on the way down at each stride. Lateral maps are added, not concatenated, and narrowed before
they are enlarged, which saves a third of a step. On a CPU with channels-last maps GroupNorm takes less time
than BatchNorm, and small batches leave no statistics of their own behind.

What an image encoder made of the image (its embedding and early feature) is taken in at the embedding's
stride and, where that is finer, at stride 16 too, where there is room for more channels. Without an encoder
the pyramid is the whole network; of tiles it may see the surroundings too.

Source: ours; its form is that of feature pyramid networks (Lin et al., arXiv 1612.03144). Suffixes: b batch,
c channels, k classes, y x pixels.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.layers import LayerNorm2d
from balrsam_pipeline.plan import NetworkPlan

COARSEST = 32
DEEP_INTAKE = 16  # stride
GROUP = 8  # channels normalised together
LEAK = 0.05
BOUNDARY_STRIDE = 4
# channels at each stride, in units of `cden_width` (that of stride 2)
WIDTHS: dict[int, float] = {1: 0.5, 2: 1, 4: 2, 8: 4, 16: 6, 32: 8}
SURROUNDINGS_STRIDE = 4
AUXILIARY = 2  # coarser strides whose masks are supervised too


class Convolution(nn.Sequential):
    """Convolution (3×3 unless told), GroupNorm, leaky ReLU."""

    def __init__(self, before: int, after: int, *, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
            group_norm(after),
            nn.LeakyReLU(LEAK, inplace=True),
        )


class Residual(nn.Module):
    """Two 3×3 convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False), group_norm(channels)
        )

    def forward(self, x_bcyx: Tensor) -> Tensor:
        """(b, c, y, x) -> (b, c, y, x)."""
        return functional.leaky_relu(x_bcyx + self.second(self.first(x_bcyx)), LEAK)


class Intake(nn.Module):
    """An encoder's maps, each normalised over its channels, summed to the pyramid's width and smoothed."""

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.maps = nn.ModuleList(
            nn.Sequential(LayerNorm2d(count), nn.Conv2d(count, width, 1)) for count in channels
        )
        self.smooth = Convolution(width, width)

    def forward(self, x_bcyx: Tensor, maps_bcyx: tuple[Tensor, ...]) -> Tensor:
        """Shape of `x_bcyx`; maps of another size are resized."""
        for layer, map_bcyx in zip(self.maps, maps_bcyx, strict=True):
            if map_bcyx.shape[-2] > x_bcyx.shape[-2]:
                x_bcyx = x_bcyx + layer(_resized(map_bcyx, x_bcyx))
            else:
                x_bcyx = x_bcyx + _resized(layer(map_bcyx), x_bcyx)
        out: Tensor = self.smooth(x_bcyx)
        return out


class SurroundingsEncoder(nn.Module):
    """What lies around a tile: down to 1/32 of a view that is `times` as wide, up again to 1/4 of it, and of
    that the middle, which is where the tile lies. It joins the tile's own maps where its pixels are as large
    as theirs. It is as wide as they are, which adds two fifths to a step.

    Source: ours; two views of one place that meet at equal pixels are those of HookNet (van Rijthoven et al.,
    arXiv 2006.12230).
    """

    def __init__(self, channels: int, widths: dict[int, int], times: int) -> None:
        super().__init__()
        strides = [stride for stride in widths if stride >= SURROUNDINGS_STRIDE]
        first, last = widths[SURROUNDINGS_STRIDE], widths[COARSEST]
        self.times, self.joins = times, SURROUNDINGS_STRIDE * times
        self.stem = _stem(channels, first, SURROUNDINGS_STRIDE)
        self.downs = nn.ModuleList(
            nn.Sequential(Convolution(widths[before], widths[after], stride=2), Residual(widths[after]))
            for before, after in pairwise(strides)
        )
        self.narrow = nn.ModuleList(
            Convolution(widths[coarse], widths[fine], kernel=1) for fine, coarse in pairwise(strides)
        )
        self.last = Convolution(first, last, kernel=1)

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """(b, c, y, x) -> (b, w, y / 4 / times, x / 4 / times)."""
        maps = [self.stem(image_bcyx)]
        for down in self.downs:
            maps.append(down(maps[-1]))
        x = maps.pop()
        for narrow in reversed(self.narrow):
            x = maps[-1] + _resized(narrow(x), maps.pop())
        out: Tensor = self.last(middle(x, self.times))
        return out


def middle(map_bcyx: Tensor, times: int) -> Tensor:
    """The middle of a map, `times` times smaller along each axis; where it begins between two pixels, their
    mean.

    Example:
        >>> middle(torch.arange(8.0).expand(1, 1, 8, 8), 4)[0, 0].tolist()
        [[3.0, 4.0], [3.0, 4.0]]
    """
    for axis in (-2, -1):
        length = map_bcyx.shape[axis]
        size = -(-length // times)
        before = (length - size) // 2
        after = length - size - before
        low = map_bcyx.narrow(axis, before, size)
        map_bcyx = low if after == before else (low + map_bcyx.narrow(axis, after, size)) / 2
    return map_bcyx


class Pyramid(nn.Module):
    """The network beside, or without, an image encoder.

    Args:
        network: `cden_width` is the width at stride 2, `mask_stride` the finest of the masks.
        channels: of the image.
        encoder_channels: of the encoder's maps at the embedding's stride; empty without one.
    """

    def __init__(self, network: NetworkPlan, channels: int, encoder_channels: tuple[int, ...] = ()) -> None:
        super().__init__()
        widths = {stride: _width(network.cden_width, stride) for stride in WIDTHS}
        self.finest = network.mask_stride
        self.strides = [stride for stride in widths if stride >= self.finest]
        taken_in = dict.fromkeys((network.embedding_stride, DEEP_INTAKE), encoder_channels)
        if not encoder_channels:
            taken_in = {}
        self.surroundings: SurroundingsEncoder | None = None
        if network.surroundings:
            channels //= 2
            self.surroundings = SurroundingsEncoder(channels, widths, network.surroundings)
            taken_in = {self.surroundings.joins: (widths[COARSEST],)}
        first = widths[self.finest]
        self.stem = nn.Sequential(_stem(channels, first, self.finest), Convolution(first, first))
        self.downs = nn.ModuleDict(
            {
                str(after): Convolution(widths[before], widths[after], stride=2)
                for before, after in pairwise(self.strides)
            }
        )
        self.blocks = nn.ModuleDict({str(stride): Residual(widths[stride]) for stride in self.strides[1:]})
        self.intakes = nn.ModuleDict(
            {str(stride): Intake(maps, widths[stride]) for stride, maps in sorted(taken_in.items())}
        )
        self.narrow = nn.ModuleDict(
            {
                str(fine): Convolution(widths[coarse], widths[fine], kernel=1)
                for fine, coarse in pairwise(self.strides)
            }
        )
        self.ups = nn.ModuleDict(
            {str(stride): Convolution(widths[stride], widths[stride]) for stride in self.strides[:-1]}
        )
        self.heads = nn.ModuleDict(
            {
                str(stride): nn.Conv2d(widths[stride], network.classes, 1)
                for stride in self.strides[: 1 + AUXILIARY]
            }
        )
        self.boundary: nn.Conv2d | None = nn.Conv2d(widths[BOUNDARY_STRIDE], 1, 1)

    def forward(
        self, image_bcyx: Tensor, encoded: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor | None]:
        """Masks of an image.

        Args:
            image_bcyx: at the input size; where the network sees surroundings, theirs are the second half of
                the channels.
            encoded: the encoder's maps, (b, c, y, x) each, as many as `encoder_channels` said.

        Returns:
            logits at the finest stride; in training those at the coarser strides, and boundary logits at
            stride 4 (nothing and None else).
        """
        if self.surroundings is not None:
            image_bcyx, around_bcyx = image_bcyx.chunk(2, dim=1)
            encoded = (self.surroundings(around_bcyx.contiguous(memory_format=torch.channels_last)),)
        x = self.stem(image_bcyx.contiguous(memory_format=torch.channels_last))
        maps: dict[int, Tensor] = {self.finest: self._take_in(x, self.finest, encoded)}
        for stride in self.strides[1:]:
            x = self._take_in(self.downs[str(stride)](x), stride, encoded)
            x = maps[stride] = self.blocks[str(stride)](x)
        for stride in reversed(self.strides[:-1]):
            x = maps[stride] + _resized(self.narrow[str(stride)](x), maps[stride])
            x = maps[stride] = self.ups[str(stride)](x)
        logits: Tensor = self.heads[str(self.finest)](x)
        if not self.training:
            return logits, (), None
        coarser = tuple(
            head(maps[int(stride)]) for stride, head in self.heads.items() if int(stride) != self.finest
        )
        boundary = self.boundary(maps[BOUNDARY_STRIDE]) if self.boundary is not None else None
        return logits, coarser, boundary

    def _take_in(self, x_bcyx: Tensor, stride: int, encoded: tuple[Tensor, ...]) -> Tensor:
        if str(stride) not in self.intakes:
            return x_bcyx
        out: Tensor = self.intakes[str(stride)](x_bcyx, encoded)
        return out


def group_norm(channels: int) -> nn.GroupNorm:
    """Groups of eight channels; of fewer where there are fewer."""
    return nn.GroupNorm(max(1, channels // GROUP), channels)


def _width(unit: int, stride: int) -> int:
    """Channels at a stride: whole groups, so that every map divides into them."""
    return max(GROUP, round(unit * WIDTHS[stride] / GROUP) * GROUP)


def _stem(channels: int, width: int, stride: int) -> nn.Module:
    """The image to the finest map; a quarter of the size in two steps of two."""
    if stride < 4:
        return Convolution(channels, width, stride=stride)
    return nn.Sequential(
        Convolution(channels, width // 2, stride=2), Convolution(width // 2, width, stride=2)
    )


def _resized(x_bcyx: Tensor, to_bcyx: Tensor) -> Tensor:
    """Bilinear to a larger size, the mean of areas to a smaller one."""
    size = (to_bcyx.shape[-2], to_bcyx.shape[-1])
    if x_bcyx.shape[-2:] == size:
        return x_bcyx
    if x_bcyx.shape[-2] > size[0]:
        return functional.adaptive_avg_pool2d(x_bcyx, size)
    return functional.interpolate(x_bcyx, size=size, mode="bilinear", align_corners=False)
