"""One pass over a pair of label maps: the joint histogram and every label value's bounding box.

Suffixes: `_zyx` a label map, 2D ones have z = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SLAB_VOXELS = 1 << 18  # what one step looks at: small enough to stay in a core's cache
LARGEST_DIRECT = 255  # label values up to this index the histogram as they are; larger ones are numbered first

LabelArray = npt.NDArray[np.integer]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class JointCounts:
    """How often each pair of values meets, and where each value lies.

    Attributes:
        values: every value in either map, ascending.
        table: (len(values), len(values)) voxel counts; rows are reference values, columns predicted ones.
        boxes: value -> the box around it in both maps together; values that lie nowhere have none.
    """

    values: tuple[int, ...]
    table: npt.NDArray[np.int64]
    boxes: dict[int, Box]


def joint_counts(prediction_zyx: LabelArray, reference_zyx: LabelArray) -> JointCounts:
    """Count the pairs of values and find the boxes, in one pass over slabs of slices.

    Args:
        prediction_zyx: integers of 0 or more, shape (z, y, x).
        reference_zyx: the same shape.
    """
    largest = int(max(prediction_zyx.max(initial=0), reference_zyx.max(initial=0)))
    numbers: npt.NDArray[np.int64] | None = None
    values = np.arange(largest + 1)
    if largest > LARGEST_DIRECT:
        values = np.union1d(np.unique(prediction_zyx), np.unique(reference_zyx)).astype(np.int64)
        numbers = np.zeros(largest + 1, dtype=np.int64)
        numbers[values] = np.arange(len(values))
    size = len(values)
    table = np.zeros(size * size, dtype=np.int64)
    lows, highs = np.full((size, 3), np.iinfo(np.int64).max), np.zeros((size, 3), dtype=np.int64)
    depth = max(1, SLAB_VOXELS // max(1, prediction_zyx[0].size)) if len(prediction_zyx) else 1
    for start in range(0, len(prediction_zyx), depth):
        predicted, referenced = prediction_zyx[start : start + depth], reference_zyx[start : start + depth]
        if numbers is not None:
            predicted, referenced = numbers[predicted], numbers[referenced]
        elif not predicted.any() and not referenced.any():
            table[0] += predicted.size
            continue
        wide: type[np.unsignedinteger] = np.uint32 if size > LARGEST_DIRECT + 1 else np.uint16
        joint = np.multiply(referenced, size, dtype=wide, casting="unsafe")
        np.add(joint, predicted, out=joint, dtype=wide, casting="unsafe")
        table += np.bincount(joint.ravel(), minlength=size * size)
        for slab in (predicted, referenced):
            _extend(lows, highs, slab, start, size)
    present = table.reshape(size, size)
    seen = np.flatnonzero((present.sum(axis=0) + present.sum(axis=1)) > 0)
    boxes = {int(values[index]): _box(lows[index], highs[index]) for index in seen if highs[index].any()}
    return JointCounts(tuple(int(value) for value in values[seen]), present[np.ix_(seen, seen)], boxes)


def _extend(lows: npt.NDArray[np.int64], highs: npt.NDArray[np.int64], slab: LabelArray, start: int, size: int) -> None:
    signed = slab.view(np.int8) if slab.dtype == np.bool_ else slab
    for number, box in enumerate(ndimage.find_objects(signed, max_label=size - 1), 1):
        if box is not None:
            for axis in range(3):
                offset = start if axis == 0 else 0
                lows[number, axis] = min(lows[number, axis], box[axis].start + offset)
                highs[number, axis] = max(highs[number, axis], box[axis].stop + offset)


def _box(low: npt.NDArray[np.int64], high: npt.NDArray[np.int64]) -> Box:
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2]))


def union(boxes: list[Box]) -> Box:
    """The smallest box that holds all of `boxes` (at least one)."""
    low = np.array([[side.start for side in box] for box in boxes]).min(axis=0)
    high = np.array([[side.stop for side in box] for box in boxes]).max(axis=0)
    return _box(low, high)
