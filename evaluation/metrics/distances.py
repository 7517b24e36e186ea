"""Distances from each border voxel of one mask to the nearest border voxel of another.

Most border voxels of a sensible prediction lie within a few voxels of the reference's. So offsets are tried from the nearest outwards,
on words of 64 voxels; what is still unmatched when that stops paying goes to a full comparison, a KD-tree or a distance transform,
whichever costs least. All are exact.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import edt
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

from evaluation.metrics.bits import LEFT, Grid, Points, Words, count, shifted

Spacing = tuple[float, float, float]
Distances = npt.NDArray[np.float64]

REACH = LEFT  # offsets of up to so many of the finest voxel spacing are tried
# Costs in seconds, measured on one core of a server CPU; only their ratios matter
GATHER_S = 2e-9  # one word at one offset
CALL_S = 4e-6  # one offset, whatever the number of words
COMPARE_S = 4e-9  # one point with one point
TREE_BUILD_S = 5.5e-7  # one point
TREE_QUERY_S = 3.0e-6  # one point that no offset reached
TRANSFORM_S = 6.5e-8  # one voxel
CHUNK = 1 << 20  # distances of a full comparison that are in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Voxels whose distance is known.

    Attributes:
        distances_mm: one for all, or one a voxel in the order of `Grid.points`.
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


def nearest(sources: Words, targets: Words, grid: Grid, spacing_mm: Spacing, limit_mm: float = math.inf) -> Iterator[Match]:
    """For each voxel of `sources` the distance in mm to the nearest voxel of `targets` (at least one), nearest first.

    Every voxel within `limit_mm` is in one match; some beyond may be, too.
    """
    found = sources & targets
    yield _match(0.0, found)
    index = np.flatnonzero(sources != found)
    bits = sources[index] ^ found[index]
    left, spent_s, rest = count(bits), 0.0, _Rest(targets, grid)
    plane, row = grid.plane, grid.row
    start = grid.margins[0] * plane + grid.margins[1] * row  # no voxel lies in an earlier word
    index -= start
    moved: dict[int, Words] = {0: targets}
    for distance_mm, offsets in _shells(_reach(grid.shape, spacing_mm), spacing_mm):
        if distance_mm > limit_mm:
            return
        if not left or spent_s > rest.cost(left):
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
        yield Match(distances_mm=rest.distances(grid.points(index, bits), spacing_mm), index=index, bits=bits)


def _match(distance_mm: float, words: Words) -> Match:
    index = np.flatnonzero(words != 0)
    return Match(distances_mm=np.array([distance_mm]), index=index, bits=words[index])


class _Rest:
    """Finds the distances of the points that no offset matched, by the cheapest of three exact ways."""

    def __init__(self, targets: Words, grid: Grid) -> None:
        self.targets, self.grid, self.count = targets, grid, count(targets)

    def cost(self, points: int) -> float:
        """Estimated seconds for so many points."""
        return min(self._compare_cost(points), self._tree_cost(points), self._transform_cost())

    def distances(self, points: Points, spacing_mm: Spacing) -> Distances:
        """Distances in mm of points (n, 3), given as voxel indices."""
        index = np.flatnonzero(self.targets != 0)
        targets = self.grid.points(index, self.targets[index])
        cheapest, scale = self.cost(len(points)), np.array(spacing_mm, dtype=np.float64)
        if self._transform_cost() <= cheapest:
            outside = np.ones(self.grid.shape, dtype=np.bool_)
            outside[tuple(targets.T)] = False
            field = edt.edtsq(outside, anisotropy=spacing_mm, black_border=False, parallel=1)
            return np.asarray(np.sqrt(field[tuple(points.T)], dtype=np.float64))
        if self._compare_cost(len(points)) <= cheapest:
            step = max(1, CHUNK // len(targets))
            parts = [points[start : start + step] for start in range(0, len(points), step)]
            return np.concatenate([cdist(part * scale, targets * scale).min(axis=1) for part in parts])
        tree = cKDTree(targets * scale, balanced_tree=False, compact_nodes=False)
        return np.asarray(tree.query(points * scale)[0], dtype=np.float64)

    def _compare_cost(self, points: int) -> float:
        return COMPARE_S * self.count * points

    def _tree_cost(self, points: int) -> float:
        return TREE_BUILD_S * self.count + TREE_QUERY_S * points

    def _transform_cost(self) -> float:
        return TRANSFORM_S * math.prod(self.grid.shape)


def _reach(shape: tuple[int, int, int], spacing_mm: Spacing) -> tuple[int, int, int]:
    """How many voxels offsets go along each axis: no further than the box."""
    z, y, x = (
        min(math.floor(REACH * min(spacing_mm) / spacing + 1e-9), length - 1) for length, spacing in zip(shape, spacing_mm, strict=True)
    )
    return z, y, x


@lru_cache(maxsize=64)
def _shells(reach: tuple[int, int, int], spacing_mm: Spacing) -> tuple[tuple[float, tuple[tuple[int, ...], ...]], ...]:
    """Every voxel offset (z, y, x) within reach, but for 0, grouped by its length in mm, nearest first."""
    reach_mm = REACH * min(spacing_mm)
    offsets = np.stack(np.meshgrid(*[np.arange(-far, far + 1) for far in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.sqrt(((offsets * np.array(spacing_mm)) ** 2).sum(axis=1))
    within = (lengths <= reach_mm * (1 + 1e-9)) & (lengths > 0)
    offsets, lengths = offsets[within], lengths[within]
    order = np.argsort(lengths, kind="stable")
    offsets, lengths = offsets[order], lengths[order]
    starts = np.flatnonzero(np.diff(lengths, prepend=-1.0) > 1e-9 * reach_mm)
    groups = [tuple(tuple(map(int, offset)) for offset in group) for group in np.split(offsets, starts[1:])] if len(offsets) else []
    return tuple((float(lengths[start]), group) for start, group in zip(starts, groups, strict=True))
