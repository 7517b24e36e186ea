"""Exact distances to a mask up to a limit, for many points at once: a distance transform that looks no
further than the limit.

Along x and y whole planes are worked on, with bytes and 16-bit integers where spacing allows; along z only
the points that are asked for.
Source of the separation by axes: Felzenszwalb and Huttenlocher 2012, Distance transforms of sampled
functions.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from evaluation.metrics.engine.bitmask import Grid, Points, Words

CHUNK_VOXELS = 1 << 17  # voxels of the planes worked on at once: they stay in a core's cache
# voxels along x and y: up to here sums with a stride of 64 fit a byte, and sums of two squares 16 bits
SHORT = 120

Squares = npt.NDArray[np.uint16] | npt.NDArray[np.float32]


def banded_distances(
    points: Points, targets: Words, grid: Grid, spacing_mm: tuple[float, float, float], limit_mm: float
) -> npt.NDArray[np.float64]:
    """Distance in mm from each point to the nearest voxel of `targets`, infinite where it exceeds `limit_mm`.

    Args:
        points: (n, 3) voxel indices z, y, x, in ascending z.
        targets: words of `grid`.
    """
    planes_around = math.floor(limit_mm / spacing_mm[0] + 1e-9)
    width = grid.shape[2] + _steps(limit_mm, spacing_mm[2])
    plane = grid.shape[1] * width
    at_z, index = points[:, 0].copy(), points @ np.array([plane, width, 1])
    low, high = max(0, int(at_z[0]) - planes_around), min(grid.shape[0], int(at_z[-1]) + planes_around + 1)
    squares, depth = np.full(len(points), np.inf), max(1, CHUNK_VOXELS // plane)
    for start in range(low, high, depth):
        stop = min(start + depth, high)
        field, unit_mm2 = _plane_squares(grid.unpack(targets, start, stop), spacing_mm, limit_mm)
        for step in range(-planes_around, planes_around + 1):
            first, last = np.searchsorted(at_z, (start - step, stop - step))
            if first < last:
                found = np.multiply(
                    field.take(index[first:last] + (step - start) * plane), unit_mm2, dtype=np.float64
                )
                found += (step * spacing_mm[0]) ** 2
                np.minimum(squares[first:last], found, out=squares[first:last])
    squares[squares > (limit_mm * (1 + 1e-6)) ** 2] = np.inf
    return np.asarray(np.sqrt(squares))


def _steps(limit_mm: float, length_mm: float) -> int:
    return math.floor(limit_mm / length_mm + 1e-9)


def _plane_squares(
    mask_zyx: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float], limit_mm: float
) -> tuple[Squares, float]:
    """Squared distances within each plane, right up to the limit and too large beyond; and how many mm² their
    unit is.

    Rows are followed by as many voxels as the limit reaches along x, so that what is shifted out of a row
    arrives nowhere too early.
    """
    _, y_mm, x_mm = spacing_mm
    steps_y, steps_x = _steps(limit_mm, y_mm), _steps(limit_mm, x_mm)
    planes, rows, columns = mask_zyx.shape
    short = max(steps_x, steps_y) <= SHORT
    along_x = np.full((planes, rows, columns + steps_x), steps_x + 1, dtype=np.uint8 if short else np.uint16)
    along_x[:, :, :columns][mask_zyx] = 0
    _spread_along_x(along_x.reshape(-1), steps_x)
    start: Squares
    if y_mm == x_mm and short:  # whole numbers of voxels squared
        start, unit_mm2, step_y = along_x.astype(np.uint16), x_mm**2, 1.0
    else:
        start, unit_mm2, step_y = along_x * np.float32(x_mm), 1.0, y_mm
    start *= start
    nearest, further = start.copy(), np.empty_like(start)
    for step in range(1, min(steps_y, rows - 1) + 1):
        np.add(start, start.dtype.type((step * step_y) ** 2), out=further)
        np.minimum(nearest[:, step:], further[:, :-step], out=nearest[:, step:])
        np.minimum(nearest[:, :-step], further[:, step:], out=nearest[:, :-step])
    return nearest, unit_mm2


def _spread_along_x(steps: npt.NDArray[np.uint8] | npt.NDArray[np.uint16], furthest: int) -> None:
    """From 0 in the mask and `furthest` + 1 elsewhere to the number of voxels to the mask, in place, if that
    is at most `furthest`."""
    reached, stride, further = 0, 1, np.empty_like(steps)
    while reached < furthest and stride < len(steps):
        # strides of 1, 2, 4 … add up to every distance; no sum of them is shorter than the way there
        np.add(steps, steps.dtype.type(stride), out=further)
        np.minimum(steps[stride:], further[:-stride], out=steps[stride:])
        np.add(steps, steps.dtype.type(stride), out=further)
        np.minimum(steps[:-stride], further[stride:], out=steps[:-stride])
        reached += stride
        stride *= 2
