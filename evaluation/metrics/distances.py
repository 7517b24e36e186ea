"""Distances from each border voxel of one mask to the nearest border voxel of another.

Most border voxels of a sensible prediction lie within a few voxels of the reference's. So offsets are tried from the nearest outwards,
all voxels at once; what is still unmatched when that stops paying goes to a KD-tree or a distance transform, whichever costs less.
"""

from __future__ import annotations

import math
from functools import lru_cache

import edt
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]

REACH = 4  # offsets of up to so many of the finest voxel spacing are tried
# Costs in seconds, measured on one core of a server CPU; only their ratios matter
GATHER_S = 4e-9  # one voxel at one offset
CALL_S = 5e-6  # one offset, whatever the number of voxels
TREE_BUILD_S = 5.5e-7  # one point
TREE_QUERY_S = 3.0e-6  # one point that no offset reached
TRANSFORM_S = 6.5e-8  # one voxel


def border(mask: Mask, flat_axes: tuple[int, ...] = ()) -> Mask:
    """Voxels of a mask with a face neighbour that is not in it; beyond the array's edge nothing is in it.

    Args:
        mask: (z, y, x), cut out of an image so closely or widely as one likes.
        flat_axes: axes along which the image (not the cut-out) has one voxel: a slice is a 2D image, so they do not count.
    """
    axes = [axis for axis in range(mask.ndim) if axis not in flat_axes]
    if not axes:
        return mask.copy()
    inner = mask.copy()
    for axis in axes:
        along, masked = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        along[1:] &= masked[:-1]
        along[:-1] &= masked[1:]
        along[0] = False
        along[-1] = False
    np.logical_not(inner, out=inner)
    inner &= mask
    return inner


def directed_distances(sources: Mask, targets: Mask, spacing_mm: tuple[float, ...]) -> Distances:
    """For each True voxel of `sources`, in C order, the distance in mm to the nearest True voxel of `targets`.

    Args:
        sources: any number of axes.
        targets: the same shape, with at least one True voxel.
        spacing_mm: one number an axis.
    """
    shells, margins = _shells(spacing_mm)
    padded = np.pad(targets, [(margin, margin) for margin in margins])
    strides = np.array(padded.strides, dtype=np.int64)  # a bool is a byte, so strides count voxels
    positions = np.flatnonzero(np.pad(sources, [(margin, margin) for margin in margins]))
    found = np.zeros(len(positions), dtype=np.float64)
    flat, waiting, spent_s = padded.ravel(), np.arange(len(positions)), 0.0
    rest = _Rest(targets)
    for distance_mm, offsets in shells:
        if spent_s > rest.cost(len(waiting)) or not len(waiting):
            break
        hit = flat[positions + int(offsets[0] @ strides)]
        for offset in offsets[1:]:
            hit |= flat[positions + int(offset @ strides)]
        spent_s += GATHER_S * len(waiting) * len(offsets) + CALL_S * len(offsets)
        found[waiting[hit]] = distance_mm
        waiting, positions = waiting[~hit], positions[~hit]
    if len(waiting):
        points = np.stack(np.unravel_index(positions, padded.shape), axis=1) - np.array(margins)
        found[waiting] = rest.distances(points, spacing_mm)
    return found


class _Rest:
    """Finds the distances of the points that no offset matched, by the cheaper of two exact ways."""

    def __init__(self, targets: Mask) -> None:
        self.targets = targets
        self.count = int(np.count_nonzero(targets))

    def cost(self, points: int) -> float:
        """Estimated seconds for so many points."""
        return min(self._tree_cost(points), self._transform_cost())

    def distances(self, points: npt.NDArray[np.int64], spacing_mm: tuple[float, ...]) -> Distances:
        """Distances in mm of points (n, axes), given as voxel indices."""
        if self._tree_cost(len(points)) <= self._transform_cost():
            scale = np.array(spacing_mm, dtype=np.float64)
            tree = cKDTree(np.argwhere(self.targets) * scale, balanced_tree=False, compact_nodes=False)
            return np.asarray(tree.query(points * scale)[0], dtype=np.float64)
        field = edt.edtsq(~self.targets, anisotropy=spacing_mm, black_border=False, parallel=1)
        return np.asarray(np.sqrt(field[tuple(points.T)], dtype=np.float64))

    def _tree_cost(self, points: int) -> float:
        return TREE_BUILD_S * self.count + TREE_QUERY_S * points

    def _transform_cost(self) -> float:
        return TRANSFORM_S * self.targets.size


@lru_cache(maxsize=16)
def _shells(spacing_mm: tuple[float, ...]) -> tuple[tuple[tuple[float, npt.NDArray[np.int64]], ...], tuple[int, ...]]:
    """Every voxel offset within reach, grouped by its length in mm, nearest first; and how far they go along each axis."""
    reach_mm = REACH * min(spacing_mm)
    margins = tuple(math.floor(reach_mm / spacing + 1e-9) for spacing in spacing_mm)
    offsets = np.stack(np.meshgrid(*[np.arange(-margin, margin + 1) for margin in margins], indexing="ij"), axis=-1).reshape(
        -1, len(margins)
    )
    lengths = np.sqrt(((offsets * np.array(spacing_mm)) ** 2).sum(axis=1))
    within = lengths <= reach_mm * (1 + 1e-9)
    offsets, lengths = offsets[within], lengths[within]
    order = np.argsort(lengths, kind="stable")
    offsets, lengths = offsets[order], lengths[order]
    starts = np.flatnonzero(np.diff(lengths, prepend=-1.0) > 1e-9 * reach_mm)
    return tuple((float(lengths[start]), group) for start, group in zip(starts, np.split(offsets, starts[1:]), strict=True)), margins
