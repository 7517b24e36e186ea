"""Resampling label maps: every label's mask linearly, and each voxel goes to the label with the largest
share.

Exact to nnU-Net v2's numerics (ties included) within float32. Quicker, because a label is resampled inside
its own bounding box, and background is what the others leave. Suffixes: `label_zyx` a label map, `slab_zyx`
some of its slices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.preprocessing.interpolation import AxisMap, axis_map
from balrsam_pipeline.preprocessing.resampling import Resampling

# shares closer than this are equal: sample points half-way between voxels are common, float32 is not exact
_TIE = 1e-5

_Region = tuple[tuple[int, int], tuple[int, int]]


def resample_label(label_zyx: npt.NDArray[np.integer], resampling: Resampling) -> npt.NDArray[np.int16]:
    """Resample a label map (order 1 one-hot within slices, argmax); returns int16 of the resampling's
    `shape_out`.

    Of labels with equal shares the nearest neighbour's wins if it is among them, else the smallest.

    Source: batchgenerators 0.25.5, `resize_segmentation`; nnU-Net v2, order 0 along a coarse axis.
    """
    if resampling.identity:
        return label_zyx.astype(np.int16)
    out = np.zeros(resampling.shape_out, dtype=np.int16)
    for start, stop in resampling.slabs():
        lo, hi = resampling.axes[0].support(start, stop)
        slab_zyx = np.ascontiguousarray(label_zyx[lo:hi])
        boxes = _boxes(slab_zyx)
        if boxes:
            (y0, y1), (x0, x1) = _reach(resampling, _union(boxes))
            out[start:stop, y0:y1, x0:x1] = _vote(slab_zyx, boxes, resampling, (start, stop, lo))
    return out


def _vote(
    slab_zyx: npt.NDArray[np.integer],
    boxes: dict[int, _Region],
    resampling: Resampling,
    where: tuple[int, int, int],
) -> npt.NDArray[np.int16]:
    """The winning label of output slices [start, stop), where labels reach in-plane, given input slices from
    `lo` on."""
    rows = _reach(resampling, _union(boxes))
    nearest = _nearest(slab_zyx, resampling, where, rows)
    winner = np.zeros(nearest.shape, dtype=np.int16)
    best = np.zeros(nearest.shape, dtype=np.float32)
    rest = np.ones(
        nearest.shape, dtype=np.float32
    )  # the shares sum to one: what the labels leave is background's
    nearest_share = np.zeros(nearest.shape, dtype=np.float32)
    (y0, _), (x0, _) = rows
    for value, box in boxes.items():
        (top, bottom), (left, right) = box
        share, (own_y, own_x) = _share(slab_zyx[:, top:bottom, left:right] == value, box, resampling, where)
        part = (slice(None), slice(own_y[0] - y0, own_y[1] - y0), slice(own_x[0] - x0, own_x[1] - x0))
        rest[part] -= share
        winner[part][share > best[part] + _TIE] = value
        np.maximum(best[part], share, out=best[part])
        np.copyto(nearest_share[part], share, where=nearest[part] == value)
    winner[rest >= best - _TIE] = 0
    np.maximum(best, rest, out=best)
    np.copyto(nearest_share, rest, where=nearest == 0)
    np.copyto(winner, nearest, where=nearest_share >= best - _TIE)
    return winner


def _share(
    mask_zyx: npt.NDArray[np.bool_], box: _Region, resampling: Resampling, where: tuple[int, int, int]
) -> tuple[npt.NDArray[np.float32], _Region]:
    """The resampled mask of one label, given inside its box, and the in-plane output region that it
    covers."""
    start, stop, lo = where
    rows = _reach(resampling, box)
    part = mask_zyx.astype(np.float32)
    for axis in (1, 2):
        part = resampling.axes[axis].apply(part, axis, rows[axis - 1], box[axis - 1][0])
    return resampling.axes[0].apply(part, 0, (start, stop), lo), rows


def _nearest(
    slab_zyx: npt.NDArray[np.integer], resampling: Resampling, where: tuple[int, int, int], rows: _Region
) -> npt.NDArray[np.int16]:
    """Nearest-neighbour labels of the same output region."""
    start, stop, lo = where
    columns: list[npt.NDArray[Any]] = []
    for axis, (first, last) in zip(resampling.axes, ((start, stop), *rows), strict=True):
        columns.append(_nearest_map(axis).columns[first:last, 0])
    nearest: npt.NDArray[np.int16] = slab_zyx[np.ix_(columns[0] - lo, columns[1], columns[2])].astype(
        np.int16
    )
    return nearest


def _nearest_map(axis: AxisMap) -> AxisMap:
    return axis_map(axis.size_in, axis.size_out, 0)


def _reach(resampling: Resampling, box: _Region) -> _Region:
    """The in-plane output region that the input box has a part in."""
    return resampling.axes[1].reach(*box[0]), resampling.axes[2].reach(*box[1])


def _boxes(slab_zyx: npt.NDArray[np.integer]) -> dict[int, _Region]:
    """In-plane bounding box ((y0, y1), (x0, x1)) of every label but background, in ascending order."""
    from scipy.ndimage import (
        find_objects,  # costs half a second to import, and data that fit need no resampling
    )

    found = enumerate(find_objects(slab_zyx.astype(np.int32)), start=1)
    return {
        value: ((box[1].start, box[1].stop), (box[2].start, box[2].stop))
        for value, box in found
        if box is not None
    }


def _union(boxes: dict[int, _Region]) -> _Region:
    """The smallest box that holds all."""
    rows, columns = zip(*boxes.values(), strict=True)
    return (min(row[0] for row in rows), max(row[1] for row in rows)), (
        min(c[0] for c in columns),
        max(c[1] for c in columns),
    )
