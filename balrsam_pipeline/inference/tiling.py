"""Overlapping tiles of slices and volumes: where they lie, how an image is padded to hold one, and what their
voxels weigh."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

SIGMA_SCALE = 1 / 8  # of the patch side; nnU-Net's compute_gaussian


@dataclass(frozen=True, slots=True)
class Tile:
    """The upper left corner (y, x) of one tile, in pixels of the padded slice."""

    y: int
    x: int


def tile_starts(size: int, patch: int, step: float) -> tuple[int, ...]:
    """Evenly spread starts of tiles that cover `size` pixels with at most `step * patch` pixels between two
    starts.

    Args:
        size: pixels to cover, at least `patch`.
        patch: pixels of a tile.
        step: largest distance of neighbours as a fraction of the patch, in (0, 1].
    """
    reach = size - patch
    if reach <= 0:
        return (0,)
    count = math.ceil(reach / max(1.0, patch * step)) + 1
    return tuple(round(index * reach / (count - 1)) for index in range(count))


def tiles(size_yx: tuple[int, int], patch_yx: tuple[int, int], step: float) -> tuple[Tile, ...]:
    """All tiles of a slice of `size_yx` pixels, row by row."""
    rows = tile_starts(size_yx[0], patch_yx[0], step)
    columns = tile_starts(size_yx[1], patch_yx[1], step)
    return tuple(Tile(y, x) for y in rows for x in columns)


def padding(size: int, patch: int) -> tuple[int, int]:
    """Pixels to add before and after, so that `size` reaches `patch`; the odd pixel goes after."""
    missing = max(0, patch - size)
    return missing // 2, missing - missing // 2


def gaussian_window(patch: Sequence[int]) -> npt.NDArray[np.float32]:
    """Weights of a tile's voxels, of the patch's shape: a Gaussian along each axis with its peak, 1, at the
    centre.

    There is no limit below: it would level voxels far from the centre along another axis, so that outer ones
    of one tile weigh as much as inner ones of the next. The least weight is e^-8 per axis, 4e-11 in the
    corners of volumes, and float32 keeps its digits down to 1e-38.
    """
    window = reduce(np.multiply.outer, (_gaussian(side) for side in patch))
    return np.asarray(window / window.max(), dtype=np.float32)


def _gaussian(side: int) -> npt.NDArray[np.float64]:
    """Weights of a patch's voxels along one axis; the centre's is 1 where there is a voxel in the centre."""
    distance = np.arange(side) - (side - 1) / 2
    return np.asarray(np.exp(-0.5 * (distance / (side * SIGMA_SCALE)) ** 2), dtype=np.float64)
