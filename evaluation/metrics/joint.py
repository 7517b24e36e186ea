"""One pass over a pair of label maps: the joint histogram and every label value's bounding box.

Suffixes: `_zyx` a label map, 2D ones have z = 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

SLAB_VOXELS = 1 << 18  # what one step looks at: small enough to stay in a core's cache
LARGEST_DIRECT = 255  # label values up to this index the histogram as they are; larger ones are numbered first
FAR = 1 << 62  # beyond every voxel
MOST_PAIRS = 4096  # pairs of values up to this number are looked for in one pass; with more, each map is searched by itself

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
    numbers, values = _numbering(prediction_zyx, reference_zyx)
    size = len(values)
    found = _Found(size)
    depth = max(1, SLAB_VOXELS // max(1, prediction_zyx[0].size)) if len(prediction_zyx) else 1
    for start in range(0, len(prediction_zyx), depth):
        predicted, referenced = prediction_zyx[start : start + depth], reference_zyx[start : start + depth]
        if numbers is not None:
            predicted, referenced = numbers[predicted], numbers[referenced]
        found.add(predicted, referenced, start)
    table = found.table.reshape(size, size)
    seen = np.flatnonzero((table.sum(axis=0) + table.sum(axis=1)) > 0)
    boxes = {int(values[index]): _box(found.lows[index], found.highs[index]) for index in seen if any(found.highs[index])}
    return JointCounts(tuple(int(value) for value in values[seen]), table[np.ix_(seen, seen)], boxes)


def _numbering(prediction_zyx: LabelArray, reference_zyx: LabelArray) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]:
    """Value -> number, or None where values are their own numbers; and number -> value. The number of 0 is 0."""
    largest = int(max(prediction_zyx.max(initial=0), reference_zyx.max(initial=0)))
    if largest <= LARGEST_DIRECT:
        return None, np.arange(largest + 1)
    values = np.unique(np.concatenate([[0], np.unique(prediction_zyx), np.unique(reference_zyx)])).astype(np.int64)
    numbers = np.zeros(largest + 1, dtype=np.int64)
    numbers[values] = np.arange(len(values))
    return numbers, values


class _Found:
    """Counts and boxes while slab after slab is added."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.table = np.zeros(size * size, dtype=np.int64)
        self.lows, self.highs = [[FAR] * 3 for _ in range(size)], [[0] * 3 for _ in range(size)]
        self.wide: type[np.unsignedinteger] = np.uint8 if size <= 16 else np.uint16 if size <= 256 else np.uint32

    def add(self, predicted: LabelArray, referenced: LabelArray, start: int) -> None:
        """Add slices `start`… of both maps, given as numbers."""
        there = (predicted != 0) | (referenced != 0)
        rows = np.flatnonzero(there.any(axis=(0, 2)))
        if not len(rows):
            self.table[0] += there.size
            return
        columns = np.flatnonzero(there.any(axis=(0, 1)))
        inside = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        predicted, referenced = predicted[inside], referenced[inside]
        self.table[0] += there.size - predicted.size
        pairs = np.multiply(referenced, self.size, dtype=self.wide, casting="unsafe")
        np.add(pairs, predicted, out=pairs, dtype=self.wide, casting="unsafe")
        self.table += np.bincount(pairs.ravel(), minlength=self.size**2)
        corner = (start, int(rows[0]), int(columns[0]))
        if self.size**2 <= MOST_PAIRS:
            for pair, box in _boxes(pairs, self.size**2 - 1):
                for number in {pair // self.size, pair % self.size} - {0}:
                    self._extend(number, box, corner)
        else:
            for slab in (predicted, referenced):
                for number, box in _boxes(slab, self.size - 1):
                    self._extend(number, box, corner)

    def _extend(self, number: int, box: Box, corner: tuple[int, int, int]) -> None:
        low, high = self.lows[number], self.highs[number]
        for axis, (side, offset) in enumerate(zip(box, corner, strict=True)):
            low[axis] = min(low[axis], side.start + offset)
            high[axis] = max(high[axis], side.stop + offset)


def _boxes(slab: LabelArray, largest: int) -> Iterator[tuple[int, Box]]:
    """The box of each number other than 0 that occurs."""
    for number, box in enumerate(ndimage.find_objects(slab, max_label=largest), 1):
        if box is not None:
            yield number, box


def _box(low: Sequence[int], high: Sequence[int]) -> Box:
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])


def union(boxes: list[Box]) -> Box:
    """The smallest box that holds all of `boxes` (at least one)."""
    sides = list(zip(*boxes, strict=True))
    return _box([min(part.start for part in side) for side in sides], [max(part.stop for part in side) for side in sides])
