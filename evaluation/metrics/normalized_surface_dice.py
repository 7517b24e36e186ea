"""Normalised surface distance: the share of two surfaces, by area, that lies within a tolerance of the other.

Source: Nikolov et al. 2018 (arXiv 1809.04430). A surface element sits at every corner of the voxel grid whose
2x2x2 voxels are not all alike; its area is that of the marching-cubes patch of those voxels. In 2D: 2x2
pixels and the length of the contour.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from evaluation.metrics.engine import Mask, grid_for, nearest

Codes = npt.NDArray[np.uint8]
# relative: spacings in headers are rounded, so a distance of exactly the tolerance may read as slightly more
ROUNDING = 1e-6


def surface_dice(
    prediction: Mask,
    reference: Mask,
    spacing_mm: tuple[float, float, float],
    tolerances_mm: tuple[float, ...],
    flat_axes: tuple[int, ...] = (),
) -> tuple[float, ...]:
    """NSD of two masks (z, y, x), neither empty, at each tolerance.

    Args:
        flat_axes: axes along which the image has one voxel, which do not count.
    """
    axes = tuple(axis for axis in range(3) if axis not in flat_axes)
    if not axes:
        return (1.0,) * len(tolerances_mm)
    areas_of = element_areas(tuple(spacing_mm[axis] for axis in axes))
    codes = [
        np.expand_dims(neighbourhood_codes(np.squeeze(mask, axis=flat_axes)), flat_axes)
        for mask in (prediction, reference)
    ]
    z, y, x = codes[0].shape
    grid = grid_for((z, y, x), spacing_mm, flat_axes)
    elements = [(code != 0) & (code != len(areas_of) - 1) for code in codes]
    borders = [grid.pack(element) for element in elements]
    # elements of each neighbourhood code are counted in whole numbers, so that all near is exactly 1
    near = np.zeros((len(tolerances_mm), len(areas_of)), dtype=np.int64)
    total = np.zeros(len(areas_of), dtype=np.int64)
    limits_mm = np.array(tolerances_mm) * (1 + ROUNDING)
    for one, other in ((0, 1), (1, 0)):
        total += np.bincount(codes[one][elements[one]], minlength=len(areas_of))
        for match in nearest(borders[one], borders[other], grid, spacing_mm, float(limits_mm.max())):
            found = codes[one][tuple(grid.points(match.index, match.bits).T)]
            for row, limit in zip(near, limits_mm, strict=True):
                within = np.broadcast_to(match.distances_mm <= limit, found.shape)
                row += np.bincount(found[within], minlength=len(areas_of))
    area = math.fsum(areas_of * total)  # exactly rounded sums: a part is never more than the whole
    return tuple(math.fsum(areas_of * row) / area for row in near)


def neighbourhood_codes(mask: Mask) -> Codes:
    """For every corner of the voxel grid, one bit for each of the voxels that meet there; one longer than the
    mask on every axis."""
    codes: Codes = np.pad(mask, 1).view(np.uint8)
    for place, axis in enumerate(reversed(range(mask.ndim))):  # bits of the last axis alternate fastest
        along = np.moveaxis(codes, axis, 0)
        joined = along[:-1] | along[1:] << np.uint8(1 << place)
        codes = np.moveaxis(joined, 0, axis)
    return codes


@lru_cache(maxsize=16)
def element_areas(spacing_mm: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """The area in mm² (in 2D the length in mm; in 1D 1) of the surface element of each neighbourhood code."""
    if len(spacing_mm) == 1:
        return np.array([0.0, 1.0, 1.0, 0.0])
    if len(spacing_mm) == 2:
        return _contour_lengths(*spacing_mm)
    return np.array(
        [sum(map(float, np.linalg.norm(normals * _faces(spacing_mm), axis=1))) for normals in _normals()]
    )


def _faces(spacing_mm: tuple[float, ...]) -> npt.NDArray[np.float64]:
    z, y, x = spacing_mm
    return np.array([y * x, z * x, z * y])


def _contour_lengths(y_mm: float, x_mm: float) -> npt.NDArray[np.float64]:
    """Bits: (0, 0), (0, 1), (1, 0), (1, 1) of (y, x). One pixel, or all but one: half a diagonal; two across:
    both corners cut off."""
    half = 0.5 * float(np.hypot(y_mm, x_mm))
    return np.array(
        [0, half, half, x_mm, half, y_mm, 2 * half, half, half, 2 * half, y_mm, half, x_mm, half, half, 0],
        dtype=np.float64,
    )


@lru_cache(maxsize=1)
def _normals() -> tuple[npt.NDArray[np.float64], ...]:
    """For each of the 256 codes, the normals of its marching-cubes triangles on unit voxels, as long as their
    areas.

    A neighbourhood with more than four voxels set has the surface of its complement: Lorensen and Cline's
    fifteen cases.
    """
    from skimage.measure import marching_cubes  # here, because only NSD needs it

    table = []
    for code in range(256):
        code = 255 - code if code.bit_count() > 4 else code
        if code == 0:
            table.append(np.zeros((0, 3)))
            continue
        cube = np.array([(code >> bit) & 1 for bit in range(8)], dtype=np.float32).reshape(2, 2, 2)
        vertices, faces, _, _ = marching_cubes(cube, 0.5, method="lorensen")
        corners = vertices[faces].astype(np.float64)
        table.append(0.5 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    return tuple(table)
