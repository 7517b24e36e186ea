"""Distances from each border voxel of one mask to the nearest border voxel of another.

Most border voxels of a sensible prediction lie within a few voxels of the reference's. So offsets are tried
from the nearest outwards, on words of 64 voxels; what is still unmatched when that stops paying goes to a
full comparison, a KD-tree or a distance transform of limited reach, whichever costs least. All are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from evaluation.metrics.engine.bitmask import LEFT, Grid, Points, Words, count, shifted
from evaluation.metrics.engine.limited_distance_transform import SHORT, banded_distances

Spacing = tuple[float, float, float]
Distances = npt.NDArray[np.float64]

REACH = LEFT  # offsets of up to so many of the finest voxel spacing are tried
# Costs in seconds, measured on one core of a server CPU; only their ratios matter
GATHER_S = 2e-9  # one word at one offset
CALL_S = 4e-6  # one offset, whatever the number of words
COMPARE_S = 4e-9  # one point with one point
TREE_BUILD_S = 5.5e-7  # one point
TREE_QUERY_S = 1.5e-6  # one point at a distance of 0
TREE_FAR_S = (
    7.5e-7  # one point, for each voxel of its distance: a flat border is about as near in many places
)
BAND_CALL_S = 1e-4  # one search, whatever its size
BAND_VOXEL_S = 1e-9  # one voxel
BAND_STEP_S = 1.6e-10  # one voxel, for each voxel that the limit reaches along y
BAND_POINT_S = 2e-9  # one point, for each plane that the limit reaches
CHUNK = 1 << 20  # distances of a full comparison that are in memory at once
SAMPLE = 8  # points compared with a quarter of the targets, to guess how far the others are


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Voxels whose distance is known.

    Attributes:
        distances_mm: one for all, or one per voxel in the order of `Grid.points`.
        index: which words.
        bits: the voxels in those words.
    """

    distances_mm: Distances
    index: npt.NDArray[np.intp]
    bits: Words


def grid_for(shape: tuple[int, int, int], spacing_mm: Spacing, flat_axes: tuple[int, ...] = ()) -> Grid:
    """The grid of a box in which every offset within reach stays inside the words."""
    reach = _reach(shape, spacing_mm)
    margins = [0 if axis in flat_axes else max(1, reach[axis]) for axis in (0, 1)]
    return Grid(shape=shape, margins=(margins[0], margins[1]))


def nearest(
    sources: Words, targets: Words, grid: Grid, spacing_mm: Spacing, limit_mm: float = math.inf
) -> Iterator[Match]:
    """For each voxel of `sources` the distance in mm to the nearest voxel of `targets` (at least one),
    nearest first.

    Every voxel within `limit_mm` is in one match; some beyond may be, too.
    """
    found = sources & targets
    yield _match(0.0, found)
    index = np.flatnonzero(sources != found)
    bits = sources[index] ^ found[index]
    left, spent_s, rest = count(bits), 0.0, _Rest(targets, grid, spacing_mm)
    plane, row = grid.plane, grid.row
    start = grid.margins[0] * plane + grid.margins[1] * row  # no voxel lies in an earlier word
    index -= start
    moved: dict[int, Words] = {0: targets}
    for distance_mm, offsets in _shells(_reach(grid.shape, spacing_mm), spacing_mm):
        if distance_mm > limit_mm:
            return
        if not left or spent_s > rest.cost(left, 2 * distance_mm):
            break
        hit = np.zeros(len(index), dtype=np.uint64)
        for z, y, x in offsets:
            if x not in moved:
                moved[x] = shifted(targets, -x)
            hit |= moved[x][start + z * plane + y * row :].take(index, mode="clip")
        hit &= bits
        spent_s += (GATHER_S * len(index) + CALL_S) * len(offsets)
        if hit.any():
            touched = np.flatnonzero(hit)
            yield Match(distances_mm=np.array([distance_mm]), index=index[touched] + start, bits=hit[touched])
            bits ^= hit
            waiting = np.flatnonzero(bits)
            index, bits = index[waiting], bits[waiting]
            left = count(bits)
    if left:
        index += start
        yield Match(distances_mm=rest.distances(grid.points(index, bits)), index=index, bits=bits)


def _match(distance_mm: float, words: Words) -> Match:
    index = np.flatnonzero(words != 0)
    return Match(distances_mm=np.array([distance_mm]), index=index, bits=words[index])


class _Rest:
    """Finds the distances of the points that no offset matched, by the cheapest of three exact ways."""

    def __init__(self, targets: Words, grid: Grid, spacing_mm: Spacing) -> None:
        self.targets, self.grid, self.spacing_mm = targets, grid, spacing_mm
        self.count, self.voxels = count(targets), math.prod(grid.shape)

    def cost(self, points: int, limit_mm: float) -> float:
        """Estimated seconds for so many points, if most of them are nearer than the limit."""
        return min(
            self._compare_cost(points), self._tree_cost(points, limit_mm), self._band_cost(points, limit_mm)
        )

    def distances(self, points: Points) -> Distances:
        """Distances in mm of points (n, 3), given as voxel indices in C order."""
        if self._compare_cost(len(points)) <= self._tree_cost(len(points), 0.0):
            return self._compared(points, self._targets_mm())
        found, waiting = np.full(len(points), np.inf), np.arange(len(points))
        limit_mm = float(self._compared(points[:: 1 + len(points) // SAMPLE], self._targets_mm(4)).max())
        while len(waiting) and self._band_cost(len(waiting), limit_mm) < self._tree_cost(
            len(waiting), limit_mm
        ):
            found[waiting] = banded_distances(
                points[waiting], self.targets, self.grid, self.spacing_mm, limit_mm
            )
            waiting = waiting[np.isinf(found[waiting])]
            limit_mm *= 2
        if len(waiting):
            tree = cKDTree(self._targets_mm(), balanced_tree=False, compact_nodes=False)
            found[waiting] = tree.query(points[waiting] * np.array(self.spacing_mm))[0]
        return found

    def _targets_mm(self, every: int = 1) -> Distances:
        """Where the targets are, or those of every so many words."""
        index = np.flatnonzero(self.targets != 0)[::every]
        return np.asarray(self.grid.points(index, self.targets[index]) * np.array(self.spacing_mm))

    def _compared(self, points: Points, targets_mm: Distances) -> Distances:
        step = max(1, CHUNK // len(targets_mm))
        parts = [
            points[start : start + step] * np.array(self.spacing_mm) for start in range(0, len(points), step)
        ]
        return np.concatenate([cdist(part, targets_mm).min(axis=1) for part in parts])

    def _compare_cost(self, points: int) -> float:
        return COMPARE_S * self.count * points

    def _tree_cost(self, points: int, limit_mm: float) -> float:
        return (
            TREE_BUILD_S * self.count + (TREE_QUERY_S + TREE_FAR_S * limit_mm / min(self.spacing_mm)) * points
        )

    def _band_cost(self, points: int, limit_mm: float) -> float:
        planes, steps, columns = (limit_mm / length for length in self.spacing_mm)
        wide = 1 if max(steps, columns) <= SHORT else 2  # bytes and 16 bits, or twice as many
        return (
            BAND_CALL_S
            + wide * self.voxels * (BAND_VOXEL_S + BAND_STEP_S * min(steps, self.grid.shape[1]))
            + BAND_POINT_S * points * (2 * planes + 1)
        )


def _reach(shape: tuple[int, int, int], spacing_mm: Spacing) -> tuple[int, int, int]:
    """How many voxels offsets go along each axis: no further than the box."""
    z, y, x = (
        min(math.floor(REACH * min(spacing_mm) / spacing + 1e-9), length - 1)
        for length, spacing in zip(shape, spacing_mm, strict=True)
    )
    return z, y, x


@lru_cache(maxsize=64)
def _shells(
    reach: tuple[int, int, int], spacing_mm: Spacing
) -> tuple[tuple[float, tuple[tuple[int, ...], ...]], ...]:
    """Every voxel offset (z, y, x) within reach, but for 0, grouped by its length in mm, nearest first."""
    reach_mm = REACH * min(spacing_mm)
    offsets = np.stack(
        np.meshgrid(*[np.arange(-far, far + 1) for far in reach], indexing="ij"), axis=-1
    ).reshape(-1, 3)
    lengths = np.sqrt(((offsets * np.array(spacing_mm)) ** 2).sum(axis=1))
    within = (lengths <= reach_mm * (1 + 1e-9)) & (lengths > 0)
    offsets, lengths = offsets[within], lengths[within]
    order = np.argsort(lengths, kind="stable")
    offsets, lengths = offsets[order], lengths[order]
    starts = np.flatnonzero(np.diff(lengths, prepend=-1.0) > 1e-9 * reach_mm)
    groups = (
        [tuple(tuple(map(int, offset)) for offset in group) for group in np.split(offsets, starts[1:])]
        if len(offsets)
        else []
    )
    return tuple((float(lengths[start]), group) for start, group in zip(starts, groups, strict=True))
