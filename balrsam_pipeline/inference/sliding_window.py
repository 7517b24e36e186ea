"""Slices in, logits out: batches over slices, tiles and mirrors of one volume along one axis.

Suffixes: `volume_dchw` slices first (d), `batch_bchw`, `logits_dkhw`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.inference.averaging import BatchLimit, Network, mean_over_networks
from balrsam_pipeline.inference.tiling import Tile, gaussian_window, padding, tiles
from balrsam_pipeline.network import shrunk

MOST_ENCODED = 16  # slices whose maps are held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceSettings:
    """How slices are cut into patches and batched; `batch_size` counts patches, mirrored copies included.
    Slices that one patch shows whole are seen in all `rotations` (degrees), others as they are. With
    `surroundings` each patch is followed by a view so many times as wide, shrunk to its size."""

    patch_size: tuple[int, int]
    tile_step: float
    batch_size: int
    context_slices: int
    mirrors: tuple[Mirror, ...]
    rotations: tuple[float, ...] = (0.0,)
    surroundings: int = 0
    limit: BatchLimit = field(default_factory=BatchLimit)


@dataclass(frozen=True, slots=True)
class _Block:
    """Slices `start` to `stop` seen through one tile, mirrored in one way: part of a batch."""

    tile: Tile
    mirror: Mirror
    start: int
    stop: int


def with_context(volume_dchw: Tensor, start: int, stop: int, context: int, reverse: bool = False) -> Tensor:
    """Slices `start` to `stop` with `context` neighbours on each side as channels, edge slices repeated.

    Args:
        volume_dchw: slices (d, C, h, w).
        reverse: whether the last neighbour comes first, as in a volume mirrored along the slicing axis.

    Returns:
        (stop - start, C * (2 * context + 1), h, w); slice-major: all channels of slice -context first.
    """
    if context == 0:
        return volume_dchw[start:stop]
    offsets = torch.arange(-context, context + 1, device=volume_dchw.device)
    if reverse:
        offsets = offsets.flip(0)
    positions = torch.arange(start, stop, device=volume_dchw.device)
    index = (positions[:, None] + offsets).clamp(0, volume_dchw.shape[0] - 1)
    return volume_dchw[index].flatten(1, 2)


def slice_logits(
    networks: Sequence[Network], volume_dchw: Tensor, span: tuple[int, int], settings: SliceSettings
) -> Tensor:
    """Logits of the slices `span[0]` to `span[1]`, averaged over networks, mirrors, rotations and
    (Gaussian-weighted) tiles.

    Args:
        networks: each maps (b, channels, y, x) to logits (b, K, y, x).
        volume_dchw: all slices (d, C, h, w), so that neighbours can be seen; float32 on the networks' device.

    Returns:
        (span, K, h, w) float32 on the same device.
    """
    height, width = volume_dchw.shape[2:]
    rows, columns = (
        padding(size, patch) for size, patch in zip((height, width), settings.patch_size, strict=True)
    )
    first, last = (
        max(0, span[0] - settings.context_slices),
        min(volume_dchw.shape[0], span[1] + settings.context_slices),
    )
    padded = functional.pad(volume_dchw[first:last], (*columns, *rows))
    smaller = _shrunk(volume_dchw[first:last], settings.surroundings) if settings.surroundings else None
    local = _LocalSlices(padded, span[0] - first, span[1] - first, smaller, (rows[0], columns[0]))
    whole = tuple(padded.shape[2:]) == settings.patch_size and not settings.surroundings
    predict = _mean_of_rotations if whole else _mean_of_patches
    mean = predict(networks, local, settings)
    return mean[:, :, rows[0] : rows[0] + height, columns[0] : columns[0] + width]


@dataclass(frozen=True, slots=True)
class _LocalSlices:
    """Padded slices, of which those from `start` to `stop` are asked for and the rest are neighbours;
    `shrunk_dchw` are the same before their padding (`padded_yx` above and left), shrunk, where surroundings
    are seen."""

    volume_dchw: Tensor
    start: int
    stop: int
    shrunk_dchw: Tensor | None = None
    padded_yx: tuple[int, int] = (0, 0)


def rotated(image_bcyx: Tensor, degrees: float, outside: Literal["zeros", "border"] = "zeros") -> Tensor:
    """Images rotated about their centre, bilinear; where nothing was 0, or the nearest pixel.

    Places are computed in float32 under autocast too, which would round them: bfloat16 by up to 0.6 pixels
    of 224, 2.7 of 1,024.

    Args:
        degrees: what lies right of the centre moves down.
    """
    if degrees == 0:
        return image_bcyx
    height, width = image_bcyx.shape[-2:]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    theta_23 = [[cosine, sine * height / width, 0.0], [-sine * width / height, cosine, 0.0]]
    theta_b23 = image_bcyx.new_tensor(theta_23, dtype=torch.float32).expand(len(image_bcyx), 2, 3)
    with torch.autocast(image_bcyx.device.type, enabled=False):
        grid = functional.affine_grid(theta_b23, list(image_bcyx.shape), align_corners=False)
        return functional.grid_sample(image_bcyx.float(), grid, "bilinear", outside, align_corners=False)


def _mean_of_rotations(networks: Sequence[Network], local: _LocalSlices, settings: SliceSettings) -> Tensor:
    """The mean of predictions of rotated slices, rotated back: of each pixel over those that show it."""
    total: Tensor | None = None
    shown = local.volume_dchw.new_zeros(1, 1, *settings.patch_size)
    for degrees in settings.rotations:
        seen = replace(local, volume_dchw=rotated(local.volume_dchw, degrees, "border"))
        logits = rotated(_mean_of_patches(networks, seen, settings), -degrees)
        shown += rotated(torch.ones_like(shown), -degrees)
        total = logits if total is None else total.add_(logits)
    if total is None:
        raise ValueError("no rotations to predict at")
    return total.div_(shown)


def _mean_of_patches(networks: Sequence[Network], local: _LocalSlices, settings: SliceSettings) -> Tensor:
    """The weighted mean of all patches' logits, (slices, K, padded height, padded width)."""
    volume = local.volume_dchw
    size = (volume.shape[2], volume.shape[3])
    places = tiles(size, settings.patch_size, settings.tile_step)
    window = (
        torch.from_numpy(gaussian_window(settings.patch_size)).to(volume.device) if len(places) > 1 else None
    )
    total: Tensor | None = None
    patches = len(places) * len(settings.mirrors) * (local.stop - local.start)
    even = math.ceil(
        patches / max(1, math.ceil(patches / settings.batch_size))
    )  # as many batches, none of them nearly empty
    encoded = _Encoded(networks, local, settings)
    for blocks in _batches(places, settings.mirrors, local.stop - local.start, even):
        batch = torch.cat([_patches(local, block, settings) for block in blocks])
        logits = mean_over_networks(networks, batch, settings.limit, encoded.of_batch(blocks))
        if total is None:
            total = volume.new_zeros((local.stop - local.start, logits.shape[1], *size))
        offset = 0
        for block in blocks:
            count = block.stop - block.start
            part = logits[offset : offset + count].flip(block.mirror.dimensions)
            _add(total, block, part if window is None else part * window, settings.patch_size)
            offset += count
    if total is None:
        raise ValueError("no slices to predict")
    return total.div_(_weights(size, places, window, settings).to(total.device))


def _batches(
    places: Sequence[Tile], mirrors: Sequence[Mirror], slices: int, batch_size: int
) -> Iterator[list[_Block]]:
    """Cut the list of all (tile, mirror, slice) into batches of `batch_size`, slices in one piece where they
    fit."""
    batch: list[_Block] = []
    left = batch_size
    for tile in places:
        for mirror in mirrors:
            start = 0
            while start < slices:
                stop = min(slices, start + left)
                batch.append(_Block(tile, mirror, start, stop))
                left -= stop - start
                start = stop
                if left == 0:
                    yield batch
                    batch, left = [], batch_size
    if batch:
        yield batch


def _shrunk(volume_dchw: Tensor, times: int) -> Tensor:
    """Slices made smaller, with zeros below and right of them where `times` does not divide them."""
    height, width = volume_dchw.shape[2:]
    return shrunk(functional.pad(volume_dchw, (0, -width % times, 0, -height % times)), times)


def _patches(local: _LocalSlices, block: _Block, settings: SliceSettings) -> Tensor:
    height, width = settings.patch_size
    cut = local.volume_dchw[:, :, block.tile.y : block.tile.y + height, block.tile.x : block.tile.x + width]
    start, stop = local.start + block.start, local.start + block.stop
    views = [cut]
    if local.shrunk_dchw is not None:
        above, left = local.padded_yx
        corner_yx = (block.tile.y - above, block.tile.x - left)
        views.append(_around(local.shrunk_dchw, corner_yx, settings))
    seen = (with_context(view, start, stop, settings.context_slices, block.mirror.context) for view in views)
    return torch.cat(list(seen), dim=1).flip(block.mirror.dimensions)


def _around(shrunk_dchw: Tensor, corner_yx: tuple[int, int], settings: SliceSettings) -> Tensor:
    """The surroundings of a tile, cut out of shrunk slices about the same middle to the nearest pixel; zeros
    outside. (Training cuts them alike: `trainers.augmentation.cut_surroundings`.)"""
    pads: list[int] = []
    ranges: list[slice] = []
    places = zip(corner_yx, settings.patch_size, shrunk_dchw.shape[2:], strict=True)
    for corner, patch, length in places:
        first = math.floor((corner + patch / 2) / settings.surroundings - patch / 2 + 0.5)
        ranges.append(slice(max(0, first), max(0, first + patch)))
        pads = [max(0, -first), max(0, first + patch - length), *pads]
    return functional.pad(shrunk_dchw[:, :, ranges[0], ranges[1]], pads)


class _Encoded:
    """What encoders make of patches that are seen mirrored too: computed once for each, and mirrored."""

    def __init__(self, networks: Sequence[Network], local: _LocalSlices, settings: SliceSettings) -> None:
        few = local.stop - local.start <= MOST_ENCODED and len(settings.mirrors) > 1
        self._networks = [
            network if few and getattr(network, "mirrors_maps", False) else None for network in networks
        ]
        self._local, self._settings = local, settings
        self._tile: Tile | None = None
        self._kept: dict[tuple[int, int, bool], tuple[Tensor | None, ...]] = {}

    def of_batch(self, blocks: Sequence[_Block]) -> list[tuple[Tensor, ...] | None]:
        """For each network its maps of a batch, or None where it is to look at the batch itself."""
        return [
            None if network is None else self._joined(number, network, blocks)
            for number, network in enumerate(self._networks)
        ]

    def _joined(self, number: int, network: Any, blocks: Sequence[_Block]) -> tuple[Tensor, ...]:
        parts = []
        for block in blocks:
            axes = [axis - 1 for axis in block.mirror.dimensions]  # of maps (b, y, x, c)
            for index in range(block.start, block.stop):
                parts.append([each.flip(axes) for each in self._one(number, network, block, index)])
        return tuple(torch.cat(maps) for maps in zip(*parts, strict=True))

    def _one(self, number: int, network: Any, block: _Block, index: int) -> list[Tensor]:
        if block.tile != self._tile:
            self._kept.clear()
            self._tile = block.tile
        key = (number, index, block.mirror.context)
        if key not in self._kept:
            plain = _Block(block.tile, Mirror(context=block.mirror.context), index, index + 1)
            self._kept[key] = network.prefix(_patches(self._local, plain, self._settings))
        return [each for each in self._kept[key] if each is not None]


def _add(total: Tensor, block: _Block, part: Tensor, patch_size: tuple[int, int]) -> None:
    tile = block.tile
    total[block.start : block.stop, :, tile.y : tile.y + patch_size[0], tile.x : tile.x + patch_size[1]] += (
        part
    )


def _weights(
    size: tuple[int, int], places: Sequence[Tile], window: Tensor | None, settings: SliceSettings
) -> Tensor:
    if window is None:
        return torch.tensor(float(len(settings.mirrors)))
    weights = window.new_zeros(size)
    for tile in places:
        weights[tile.y : tile.y + window.shape[0], tile.x : tile.x + window.shape[1]] += window
    return weights * len(settings.mirrors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """One mirrored copy: `rows`/`columns` flip a slice's y/x, `context` reverses the order of its
    neighbours."""

    rows: bool = False
    columns: bool = False
    context: bool = False

    @property
    def dimensions(self) -> tuple[int, ...]:
        """Dimensions of a (batch, channel, y, x) tensor to flip."""
        return ((2,) if self.rows else ()) + ((3,) if self.columns else ())


def mirrors(mirror_axes: Sequence[int], slicing_axis: int, context_slices: int) -> tuple[Mirror, ...]:
    """Every combination of the mirrors that change what the network sees, the unmirrored copy first.

    Mirroring along the slicing axis changes nothing for a slice alone, and the order of its neighbours where
    it has some.

    Args:
        mirror_axes: volume axes (0, 1, 2) on which the network was trained mirrored.
        slicing_axis: volume axis along which slices are cut.
        context_slices: neighbours on each side that the network sees.
    """
    rows_axis, columns_axis = (axis for axis in range(3) if axis != slicing_axis)
    flip_rows, flip_columns = rows_axis in mirror_axes, columns_axis in mirror_axes
    flip_context = context_slices > 0 and slicing_axis in mirror_axes
    choices = [(False, True) if flips else (False,) for flips in (flip_rows, flip_columns, flip_context)]
    return tuple(
        Mirror(rows=rows, columns=columns, context=context) for rows, columns, context in product(*choices)
    )
