"""Are the voxels of every label still there after resampling? Counted, and kept where a whole one would go.

Small lesions in finely sampled cases win no vote against the background around them. Suffixes: `label_zyx`
before resampling, `resampled_zyx` after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelVoxels:
    """What became of one label value in a case.

    Attributes:
        raw: its voxels in the image.
        stored: its voxels after preprocessing.
        lost: raw voxels near which (in 3 × 3 × 3 voxels) the resampled map showed the label no more.
        restored: whether none was left, so that each raw voxel was written to the nearest one.
    """

    raw: int
    stored: int
    lost: int
    restored: bool = False


def conserve_labels(
    label_zyx: npt.NDArray[np.integer], resampled_zyx: npt.NDArray[np.int16], ignore_value: int | None
) -> dict[int, LabelVoxels]:
    """Count every label value but background and the ignore label; one that is gone altogether is put back.

    Args:
        label_zyx: before resampling, cropped.
        resampled_zyx: the same box after resampling; labels that vanished are written into it.
    """
    raw, stored = _counts(label_zyx), _counts(resampled_zyx)
    lost = np.zeros(len(raw), dtype=np.int64) if label_zyx.shape == resampled_zyx.shape else None
    if lost is None:
        lost = _lost(label_zyx, resampled_zyx, len(raw))
    found: dict[int, LabelVoxels] = {}
    for value in (value for value in np.flatnonzero(raw).tolist() if value not in (0, ignore_value)):
        left = int(stored[value]) if value < len(stored) else 0
        restored = left == 0
        if restored:
            left = _put_back(label_zyx, resampled_zyx, value)
        found[value] = LabelVoxels(raw=int(raw[value]), stored=left, lost=int(lost[value]), restored=restored)
    return found


def _counts(label_zyx: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Voxels of every value, slice by slice: `bincount` widens what it is given to 64 bits."""
    size = int(label_zyx.max(initial=0)) + 1
    counts = np.zeros(size, dtype=np.int64)
    for plane_yx in label_zyx:
        counts += np.bincount(plane_yx.ravel(), minlength=size)
    return counts


def _lost(
    label_zyx: npt.NDArray[np.integer], resampled_zyx: npt.NDArray[np.int16], size: int
) -> npt.NDArray[np.int64]:
    nearest = _nearest(label_zyx.shape, resampled_zyx.shape)
    lost = np.zeros(size, dtype=np.int64)
    for z, plane_yx in enumerate(label_zyx):
        rows, columns = np.nonzero(plane_yx)
        values = plane_yx[rows, columns]
        places = (nearest[0][z], nearest[1][rows], nearest[2][columns])
        missing = resampled_zyx[places] != values
        if missing.any():
            values, rows, columns = values[missing], places[1][missing], places[2][missing]
            lost += np.bincount(
                values[~_is_near(resampled_zyx, values, places[0], rows, columns)], minlength=size
            )
    return lost


def _is_near(
    resampled_zyx: npt.NDArray[np.int16],
    values: npt.NDArray[Any],
    z: int,
    rows: npt.NDArray[np.intp],
    columns: npt.NDArray[np.intp],
) -> npt.NDArray[np.bool_]:
    depth, height, width = resampled_zyx.shape
    near = np.zeros(len(values), dtype=np.bool_)
    for dz, dy, dx in product((-1, 0, 1), repeat=3):
        if 0 <= z + dz < depth:
            y, x = np.clip(rows + dy, 0, height - 1), np.clip(columns + dx, 0, width - 1)
            near |= resampled_zyx[z + dz, y, x] == values
    return near


def _put_back(label_zyx: npt.NDArray[np.integer], resampled_zyx: npt.NDArray[np.int16], value: int) -> int:
    """Write a label to the voxels nearest to its own; returns how many they are."""
    nearest = _nearest(label_zyx.shape, resampled_zyx.shape)
    places = tuple(axis[own] for axis, own in zip(nearest, np.nonzero(label_zyx == value), strict=True))
    resampled_zyx[places] = value
    return int(np.count_nonzero(resampled_zyx == value))


def _nearest(shape_in: tuple[int, ...], shape_out: tuple[int, ...]) -> list[npt.NDArray[np.intp]]:
    """For every axis the output index that holds the middle of each input voxel."""
    return [
        np.minimum((np.arange(old) + 0.5) * new / old, new - 1).astype(np.intp)
        for old, new in zip(shape_in, shape_out, strict=True)
    ]
