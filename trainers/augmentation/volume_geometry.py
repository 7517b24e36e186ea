"""Rotation, scaling and mirroring of a patch of a volume, in one interpolation straight from the volume.

Suffixes: `image_czyx` channels first, `label_zyx` integer labels, `_zyx` along the axes of the volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trainers.augmentation.geometry import draw_scale, padded_crop, resample
from trainers.augmentation_config import VOLUME_ROTATION_DEGREES, AugmentationConfig

Zyx = tuple[int, int, int]
Box = tuple[slice, slice, slice]
ANISOTROPIC = 3.0  # nnU-Net's: beyond, patches are turned and scaled within slices alone
DRAWS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry3d:
    """Drawn parameters.

    Attributes:
        angles: in radians, about each axis in turn.
        scales: along each axis; above 1 shows less tissue larger.
        mirror: along each axis.
        spacing_mm: of the voxels; a turn keeps lengths in mm.
    """

    angles: tuple[float, float, float] = (0.0, 0.0, 0.0)
    scales: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mirror: tuple[bool, bool, bool] = (False, False, False)
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @property
    def moves(self) -> bool:
        """Whether voxels come to lie between voxels: mirroring alone does not do that."""
        return any(self.angles) or any(scale != 1.0 for scale in self.scales)

    @property
    def matrix_zyx(self) -> npt.NDArray[np.float64]:
        """(3, 3): from a place in the patch, relative to its middle in voxels, to where its value is read."""
        turn = np.eye(3)
        for axis, angle in enumerate(self.angles):
            first, second = (other for other in range(3) if other != axis)
            single = np.eye(3)
            single[first, first] = single[second, second] = math.cos(angle)
            single[first, second], single[second, first] = -math.sin(angle), math.sin(angle)
            turn = turn @ single
        spacing = np.array(self.spacing_mm)
        in_voxels = turn * spacing[None, :] / spacing[:, None]
        return np.asarray(in_voxels / np.array(self.scales)[None, :])


def draw_volume_geometry(
    rng: np.random.Generator,
    config: AugmentationConfig,
    spacing_mm: tuple[float, float, float],
    mirror_axes: Sequence[int],
    *,
    stack: bool = False,
) -> Geometry3d:
    """Draw rotation about three axes, scaling along each, and mirroring.

    Where slices are much further apart than voxels within them, patches are turned and scaled within slices
    alone, as nnU-Net does; so is a `stack` of slices, all in the same way: it is flat, and tilted it would
    leave the volume.
    """
    degrees = VOLUME_ROTATION_DEGREES if config.rotation_degrees is None else config.rotation_degrees
    within = stack or max(spacing_mm) > ANISOTROPIC * min(spacing_mm)
    coarse = 0 if stack else spacing_mm.index(max(spacing_mm))
    turned, scaled = config.probability("rotation_probability"), config.probability("scaling_probability")
    draws = rng.random(DRAWS)  # always as many, so that switching one off leaves the others as they were
    angles, scales = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    for axis in range(3):
        if config.enabled and draws[0] < turned and (axis == coarse or not within):
            angles[axis] = math.radians(degrees) * float(2 * draws[1 + axis] - 1)
        if config.enabled and draws[4] < scaled and (axis != coarse or not within):
            scales[axis] = draw_scale(draws[5], draws[6 + axis], config.scaling_range)
    may_flip = config.enabled and config.mirroring
    flips = [bool(may_flip and axis in mirror_axes and draws[9 + axis] < 0.5) for axis in range(3)]
    return Geometry3d(
        angles=(angles[0], angles[1], angles[2]),
        scales=(scales[0], scales[1], scales[2]),
        mirror=(flips[0], flips[1], flips[2]),
        spacing_mm=spacing_mm,
    )


def cut_volume(
    read: Callable[[Box], tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]],
    shape_zyx: Zyx,
    corner_zyx: Zyx,
    patch_zyx: Zyx,
    geometry: Geometry3d,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """Cut a patch whose first voxel is `corner_zyx` (it may lie outside) and apply `geometry` about its
    centre.

    Args:
        read: a box of the volume -> its image (c, z, y, x) and label (z, y, x); asked for what is seen alone.
        shape_zyx: of the volume; outside it the image is 0 and the label is 0, as at prediction.
    """
    matrix = geometry.matrix_zyx if geometry.moves else np.eye(3)
    middle = (np.array(patch_zyx) - 1) / 2
    offset = np.array(corner_zyx) + middle - matrix @ middle
    box, first = _seen(matrix, offset, patch_zyx, shape_zyx)
    image_czyx, label_zyx = read(box)
    if not geometry.moves:
        corner = [int(value) for value in np.array(corner_zyx) - first]
        image, label = padded_crop(image_czyx, corner, patch_zyx), padded_crop(label_zyx, corner, patch_zyx)
    elif label_zyx.size:
        image, label = resample(image_czyx, label_zyx, matrix, offset - first, patch_zyx)
    else:
        image = np.zeros((len(image_czyx), *patch_zyx), np.float32)
        label = np.zeros(patch_zyx, np.int16)
    flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in geometry.mirror)
    return np.ascontiguousarray(image[(slice(None), *flips)]), np.ascontiguousarray(label[flips])


def _seen(
    matrix: npt.NDArray[np.float64], offset: npt.NDArray[np.float64], patch_zyx: Zyx, shape_zyx: Zyx
) -> tuple[Box, npt.NDArray[np.integer[Any]]]:
    """The part of a volume that a patch reads, and its first voxel."""
    reach = np.array(patch_zyx) - 1
    low = offset + np.minimum(matrix, 0) @ reach
    high = offset + np.maximum(matrix, 0) @ reach
    first = np.clip(np.floor(low).astype(int), 0, shape_zyx)
    last = np.maximum(np.clip(np.ceil(high).astype(int) + 1, 0, shape_zyx), first)
    z, y, x = (slice(int(start), int(stop)) for start, stop in zip(first, last, strict=True))
    return (z, y, x), first
