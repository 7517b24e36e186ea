"""Cropping a case to the voxels where any channel is nonzero (nnU-Net v2's rule) or that are labelled.

Suffixes: `image_czyx` channels first, `mask_zyx` boolean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


def nonzero_box(image_czyx: npt.NDArray[Any]) -> Box:
    """The smallest box, (start, stop) per axis, that holds every nonzero voxel; the whole image where all are
    zero.

    nnU-Net fills holes before it takes the box; holes lie inside the box, so the box is the same without that
    work.

    Source: nnU-Net v2, `crop_to_nonzero`.
    """
    if image_czyx[0, 0, 0, 0] != 0 and image_czyx[0, -1, -1, -1] != 0:
        return _whole(image_czyx.shape)  # two opposite corners span it all
    reach_zyx = np.zeros(image_czyx.shape[1:3], dtype=bool)
    columns = np.zeros(image_czyx.shape[3], dtype=bool)
    for z in range(image_czyx.shape[1]):  # slice by slice: no mask of the whole volume is ever held
        mask_yx = (image_czyx[:, z] != 0).any(axis=0)
        reach_zyx[z] = mask_yx.any(axis=1)
        columns |= mask_yx.any(axis=0)
    if not columns.any():
        return _whole(image_czyx.shape)
    return _extent(reach_zyx.any(axis=1)), _extent(reach_zyx.any(axis=0)), _extent(columns)


def foreground_box(
    image_czyx: npt.NDArray[Any], label_zyx: npt.NDArray[np.integer] | None, ignore_value: int | None = None
) -> Box:
    """The nonzero box, made larger where labelled voxels lie outside it; ignored ones do not count.

    A departure from nnU-Net, which cuts such labels off.
    """
    box = nonzero_box(image_czyx)
    if label_zyx is None or box == _whole(image_czyx.shape):
        return box
    labelled = label_box(label_zyx, ignore_value)
    if labelled is None:
        return box
    sides = [(min(own[0], other[0]), max(own[1], other[1])) for own, other in zip(box, labelled, strict=True)]
    return sides[0], sides[1], sides[2]


def label_box(label_zyx: npt.NDArray[np.integer | np.bool_], ignore_value: int | None = None) -> Box | None:
    """The smallest box that holds every labelled voxel, or every one of a mask; None where there is none."""
    reach_zyx = np.zeros(label_zyx.shape[:2], dtype=bool)
    columns = np.zeros(label_zyx.shape[2], dtype=bool)
    for z, plane_yx in enumerate(label_zyx):
        mask_yx = plane_yx != 0
        if ignore_value is not None:
            mask_yx &= plane_yx != ignore_value
        reach_zyx[z] = mask_yx.any(axis=1)
        columns |= mask_yx.any(axis=0)
    if not columns.any():
        return None
    return _extent(reach_zyx.any(axis=1)), _extent(reach_zyx.any(axis=0)), _extent(columns)


def nonzero_mask(image_czyx: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where any channel is nonzero, holes filled; boolean (z, y, x).

    Source: nnU-Net v2, `create_nonzero_mask`.
    """
    from scipy.ndimage import binary_fill_holes  # costs half a second to import, and few cases need it

    mask_zyx = np.zeros(image_czyx.shape[1:], dtype=bool)
    for channel in image_czyx:
        mask_zyx |= channel != 0
    filled: npt.NDArray[np.bool_] = binary_fill_holes(mask_zyx)
    return filled


def crop(array_czyx: npt.NDArray[Any], box: Box) -> npt.NDArray[Any]:
    """A view of (channel, z, y, x) restricted to `box`."""
    (z0, z1), (y0, y1), (x0, x1) = box
    return array_czyx[:, z0:z1, y0:y1, x0:x1]


def _extent(used: npt.ArrayLike) -> tuple[int, int]:
    indices = np.flatnonzero(used)
    return int(indices[0]), int(indices[-1]) + 1


def _whole(shape_czyx: tuple[int, ...]) -> Box:
    _, depth, height, width = shape_czyx
    return (0, depth), (0, height), (0, width)
