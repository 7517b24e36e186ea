"""A volume in, logits out: overlapping patches, front to back, in memory that grows with a slab alone.

Patches that begin at the same depth are computed together and added up with Gaussian weights; slices that no
later patch reaches are handed out and forgotten. Mirrored copies of a patch are made, turned back and added
up where the networks are.

Suffixes: `image_czyx`, `logits_kzyx` one channel a class or region, `batch_bczyx`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations, product

import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.inference.averaging import BatchLimit, Network, mean_over_networks
from balrsam_pipeline.inference.tiling import gaussian_window, padding, tile_starts

Zyx = tuple[int, int, int]
Flip = tuple[int, ...]  # dimensions of a batch (b, c, z, y, x) that are mirrored
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSettings:
    """How a volume is cut into patches and batched; `batch_size` counts patches, mirrored copies included."""

    patch_zyx: Zyx
    tile_step: float
    batch_size: int
    flips: tuple[Flip, ...]
    limit: BatchLimit = field(default_factory=BatchLimit)


def volume_flips(mirror_axes: Sequence[int]) -> tuple[Flip, ...]:
    """Every combination of the axes that may be mirrored, the unmirrored copy first."""
    axes = sorted(mirror_axes)
    chosen = chain.from_iterable(combinations(axes, count) for count in range(len(axes) + 1))
    return tuple(tuple(axis + 2 for axis in each) for each in chosen)


def bytes_held(classes: int, shape_zyx: Sequence[int], patch_zyx: Zyx, slab: int) -> int:
    """The most that sums and weights of a volume take where `slab` slices are taken at a time.

    Example:
        >>> bytes_held(3, (500, 64, 64), (32, 64, 64), slab=10) == 4 * (3 + 1) * (9 + 32) * 64 * 64
        True
    """
    depth, height, width = (max(sides) for sides in zip(shape_zyx, patch_zyx, strict=True))
    return 4 * (classes + 1) * _slices_held(depth, patch_zyx[0], slab) * height * width


def _slices_held(depth: int, patch_depth: int, slab: int) -> int:
    """The most slices that patches reach while a slab is computed: the last may begin at its last slice."""
    return min(depth, slab - 1 + patch_depth)


class VolumeLogits:
    """Logits of one volume, averaged over networks, mirrors and overlapping patches; read in order of
    depth."""

    def __init__(
        self,
        networks: Sequence[Network],
        image_czyx: Tensor,
        classes: int,
        settings: VolumeSettings,
        device: torch.device = CPU,
        home: torch.device = CPU,
    ) -> None:
        """Prepare to compute.

        Args:
            networks: each maps (b, c, z, y, x) to logits (b, K, z, y, x).
            image_czyx: float32, on the CPU.
            classes: K.
            device: where the networks are; patches are carried there one by one.
            home: where patches are added up: there, or on the CPU.
        """
        self._networks, self._settings, self._device = networks, settings, device
        shape, patch = image_czyx.shape[1:], settings.patch_zyx
        self._margins = [padding(size, side) for size, side in zip(shape, patch, strict=True)]
        self._shape = [
            size + before + after for size, (before, after) in zip(shape, self._margins, strict=True)
        ]
        sides = list(chain.from_iterable(reversed(self._margins)))  # torch names the last axis first
        self._image = functional.pad(image_czyx, sides) if any(sides) else image_czyx
        self._starts = [
            tile_starts(size, side, settings.tile_step) for size, side in zip(self._shape, patch, strict=True)
        ]
        self._window = torch.from_numpy(gaussian_window(patch)).to(home)
        self._rows, self._first = 0, 0  # rows of patches that are done; the first slice that is held
        self._held = 0  # slices, of as many as there is room for
        self._sums = torch.zeros(classes, 0, *self._shape[1:], device=home)
        self._weights = torch.zeros(0, *self._shape[1:], device=home)

    def take(self, start: int, stop: int) -> Tensor:
        """Logits (K, stop - start, y, x) of the next slices, float32 at home; those before `start` may be
        forgotten then, those before `stop` in the next call.

        Raises:
            ValueError: slices from `start` on are forgotten already.
        """
        (before, _), (top, _), (left, _) = self._margins
        first, last = start + before, stop + before
        if first < self._first:
            raise ValueError(f"slices from {start} are forgotten; they are read front to back")
        self._make_room(_slices_held(self._shape[0], self._settings.patch_zyx[0], last - first))
        while self._rows < len(self._starts[0]) and self._starts[0][self._rows] < last:
            depth = self._starts[0][self._rows]
            self._forget(min(first, depth) - self._first)
            self._add_row(depth)
            self._rows += 1
        span = slice(first - self._first, last - self._first)
        logits = self._sums[:, span] / self._weights[span]
        height, width = (
            size - sum(margin) for size, margin in zip(self._shape[1:], self._margins[1:], strict=True)
        )
        return logits[:, :, top : top + height, left : left + width]

    def _make_room(self, slices: int) -> None:
        """Have room for so many slices: once, unless a later slab is larger than the first."""
        held, missing = self._held, slices - self._sums.shape[1]
        if missing <= 0:
            return
        sums, weights = self._sums, self._weights
        self._sums = sums.new_zeros(len(sums), slices, *sums.shape[2:])
        self._weights = weights.new_zeros(slices, *weights.shape[1:])
        self._sums[:, :held], self._weights[:held] = sums[:, :held], weights[:held]

    def _add_row(self, depth: int) -> None:
        """Compute and add all patches that begin at `depth`."""
        patch, window = self._settings.patch_zyx, self._window
        base = depth - self._first
        self._held = base + patch[0]
        for y, x, copies_kzyx in self._sums_of_copies(depth):
            where = (slice(base, base + patch[0]), slice(y, y + patch[1]), slice(x, x + patch[2]))
            self._sums[(slice(None), *where)].addcmul_(copies_kzyx.to(window.device), window)
            self._weights[where].add_(window, alpha=len(self._settings.flips))

    def _sums_of_copies(self, depth: int) -> Iterator[tuple[int, int, Tensor]]:
        """Corner (y, x) of each patch of a row, and the summed logits of its mirrored copies, turned back,
        on the networks' device."""
        total: Tensor | None = None
        for copies in self._batches():
            corners = dict.fromkeys((y, x) for y, x, _ in copies)
            patches = {(y, x): self._cut(depth, y, x).to(self._device) for y, x in corners}
            batch = torch.stack([patches[y, x].flip(_of_one(flip)) for y, x, flip in copies])
            logits = mean_over_networks(self._networks, batch, self._settings.limit)
            for one, (y, x, flip) in zip(logits, copies, strict=True):
                back = one.flip(_of_one(flip))
                total = back if total is None else total.add_(back)
                if flip == self._settings.flips[-1]:
                    yield y, x, total
                    total = None

    def _forget(self, count: int) -> None:
        """Move what is held to the front, over the first `count` slices; in place, since it may be large, and
        only where a row of patches needs the room, since it takes time."""
        if count == 0:
            return
        self._first, kept = self._first + count, max(0, self._held - count)
        for number in range(kept):
            self._sums[:, number] = self._sums[:, number + count]
            self._weights[number] = self._weights[number + count]
        self._sums[:, kept : self._held] = 0.0
        self._weights[kept : self._held] = 0.0
        self._held = kept

    def _batches(self) -> Iterator[list[tuple[int, int, Flip]]]:
        """Corners (y, x) of a row's patches with every way to mirror them, in batches."""
        copies = list(product(self._starts[1], self._starts[2], self._settings.flips))
        for start in range(0, len(copies), self._settings.batch_size):
            yield copies[start : start + self._settings.batch_size]

    def _cut(self, z: int, y: int, x: int) -> Tensor:
        depth, height, width = self._settings.patch_zyx
        return self._image[:, z : z + depth, y : y + height, x : x + width]


def _of_one(flip: Flip) -> list[int]:
    """The dimensions of one of a batch (c, z, y, x)."""
    return [axis - 1 for axis in flip]
