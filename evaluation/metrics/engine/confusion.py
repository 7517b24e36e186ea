"""One pass over a pair of label maps: the joint histogram and every label value's bounding box.

Eight voxels are read at a time. Words in which neither map holds anything are passed over, and words in which
both hold one and the same value throughout are counted as a whole; only what remains, the borders, is looked
at voxel by voxel.

Suffixes: `_zyx` a label map, 2D ones have z = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import EvaluationError

STEP_VOXELS = 1 << 20  # what one step looks at: small enough to stay in a core's cache
WORD = 8  # voxels of a word
ROW = 32  # rows are read as they are if their length is a multiple of this, else copied with zeros behind
FLAGS = 16  # values that a flag word tells apart
LARGEST_BYTE = 255  # label values up to this are their own numbers; if any is larger, all are numbered
MOST_VALUES = 4096  # what a table of all pairs is made for
ONES = np.uint64(0x0101010101010101)

LabelArray = npt.NDArray[np.integer]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.uint16]
Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class JointCounts:
    """How often each pair of values meets, and where each value lies.

    Attributes:
        values: every value in either map, ascending.
        table: (len(values), len(values)) voxel counts; rows are reference values, columns predicted ones.
        boxes: value -> a box around it in both maps together, tight along z and y, up to seven voxels too
            wide at either end of x.
    """

    values: tuple[int, ...]
    table: npt.NDArray[np.int64]
    boxes: dict[int, Box]


def joint_counts(prediction_zyx: LabelArray, reference_zyx: LabelArray) -> JointCounts:
    """Count the pairs of values and find the boxes, in one pass over slabs of slices.

    Args:
        prediction_zyx: integers of 0 or more, shape (z, y, x).
        reference_zyx: the same shape.

    Raises:
        EvaluationError: more than 4096 different values: no labels of classes.
    """
    numbers, values = _numbering(prediction_zyx, reference_zyx)
    z, y, x = reference_zyx.shape
    found = _Found((z, y, x)) if len(values) <= LARGEST_BYTE + 1 else _FoundMany((z, y, x), len(values))
    depth = max(1, STEP_VOXELS // max(1, y * x))
    for start in range(0, z, depth):
        predicted, referenced = prediction_zyx[start : start + depth], reference_zyx[start : start + depth]
        if numbers is not None:
            predicted, referenced = numbers[predicted], numbers[referenced]
        found.add(predicted, referenced, start)
    table = found.table
    table[0, 0] += reference_zyx.size - table.sum()
    seen = np.flatnonzero((table.sum(axis=0) + table.sum(axis=1)) > 0)
    boxes = {int(values[number]): found.box(int(number)) for number in seen if number}
    return JointCounts(tuple(int(values[number]) for number in seen), table[np.ix_(seen, seen)], boxes)


def _numbering(
    prediction_zyx: LabelArray, reference_zyx: LabelArray
) -> tuple[npt.NDArray[np.uint16] | None, npt.NDArray[np.int64]]:
    """Value -> number, or None where values are their own numbers; and number -> value. The number of 0 is
    0."""
    maps = (prediction_zyx, reference_zyx)
    if (
        all(label.dtype == np.uint8 for label in maps)
        or max(int(label.max(initial=0)) for label in maps) <= LARGEST_BYTE
    ):
        return None, np.arange(LARGEST_BYTE + 1)
    values = np.unique(np.concatenate([[0], *map(np.unique, maps)])).astype(np.int64)
    if len(values) > MOST_VALUES:
        raise EvaluationError(
            "label maps",
            found=f"{len(values)} different values",
            expected=f"labels of classes, at most {MOST_VALUES}",
            fix="if these are instances, score them as one class",
        )
    numbers = np.zeros(int(values[-1]) + 1, dtype=np.uint16)
    numbers[values] = np.arange(len(values))
    return numbers, values


class _Found:
    """Counts and places of up to 256 numbers while slab after slab is added."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.columns = -(-shape[2] // ROW) * ROW // WORD
        self.table = np.zeros((0, 0), dtype=np.int64)
        # flags[group][row or column of words]: which of the 16 numbers of a group occur there
        self.row_flags: list[Flags] = []
        self.column_flags: list[Flags] = []
        self._grow(FLAGS)

    def add(self, predicted: LabelArray, referenced: LabelArray, start: int) -> None:
        """Add slices `start`… of both maps, given as numbers."""
        ours, theirs = self._words(predicted), self._words(referenced)
        index = np.flatnonzero((ours | theirs) != 0)
        if not len(index):
            return
        ours, theirs = ours.take(index), theirs.take(index)
        first = ours.astype(np.uint8)
        alike = (first * ONES == ours) & (ours == theirs)
        mixed = np.flatnonzero(~alike)
        guesses, truths = ours[mixed].view(np.uint8), theirs[mixed].view(np.uint8)
        self._grow(1 + int(max(first.max(), guesses.max(initial=0), truths.max(initial=0))))
        size = len(self.table)
        pairs = truths.astype(np.intp)
        pairs *= size
        pairs += guesses
        counts = np.bincount(pairs, minlength=size * size).reshape(size, size)
        counts[np.diag_indices(size)] += WORD * np.bincount(first[alike], minlength=size)
        self.table += counts
        there = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1))
        for group in np.unique(there[there > 0] // FLAGS):
            flag_of = self._flag_of(int(group))
            flags = flag_of.take(first)
            if len(mixed):
                flags[mixed] = _folded(flag_of.take(guesses) | flag_of.take(truths))
            self._mark(int(group), index, flags, start, predicted.shape[0])

    def _mark(self, group: int, index: npt.NDArray[np.intp], flags: Flags, start: int, slices: int) -> None:
        """Note in which rows and columns of a slab the words `index` with their flags lie."""
        slab = np.zeros(slices * self.shape[1] * self.columns, dtype=np.uint16)
        slab[index] = flags
        fours = slab.view(np.uint64).reshape(-1, self.columns // 4)
        rows = np.bitwise_or.reduce(fours, axis=1).view(np.uint16).reshape(-1, 4)
        place = start * self.shape[1]
        self.row_flags[group][place : place + len(rows)] = np.bitwise_or.reduce(rows, axis=1)
        self.column_flags[group] |= np.bitwise_or.reduce(fours, axis=0).view(np.uint16)

    def box(self, number: int) -> Box:
        """Where a number that occurs lies."""
        group, bit = divmod(number, FLAGS)
        rows = (self.row_flags[group] & np.uint16(1 << bit)).reshape(self.shape[:2]) != 0
        z, y, x = (
            np.flatnonzero(hits)
            for hits in (rows.any(axis=1), rows.any(axis=0), self.column_flags[group] & np.uint16(1 << bit))
        )
        ends = min(self.shape[2], int(x[-1] + 1) * WORD)
        return (
            slice(int(z[0]), int(z[-1]) + 1),
            slice(int(y[0]), int(y[-1]) + 1),
            slice(int(x[0]) * WORD, ends),
        )

    def _grow(self, size: int) -> None:
        """Make room for numbers below `size`."""
        old = len(self.table)
        if size <= old:
            return
        table = np.zeros((size, size), dtype=np.int64)
        table[:old, :old] = self.table
        self.table = table
        while len(self.row_flags) * FLAGS < size:
            self.row_flags.append(np.zeros(self.shape[0] * self.shape[1], dtype=np.uint16))
            self.column_flags.append(np.zeros(self.columns, dtype=np.uint16))

    def _flag_of(self, group: int) -> Flags:
        """Number -> its flag in a group; 0 and the numbers of other groups have none."""
        flags = np.zeros(len(self.table), dtype=np.uint16)
        numbers = np.arange(max(1, group * FLAGS), min(len(flags), (group + 1) * FLAGS))
        flags[numbers] = 1 << (numbers - group * FLAGS)
        return flags

    def _words(self, slab: LabelArray) -> Words:
        """A slab as words of eight voxels, each row with zeros behind where its length asks for them."""
        width = self.columns * WORD
        if slab.dtype == np.uint8 and slab.flags.c_contiguous and slab.shape[2] == width:
            return slab.reshape(-1).view(np.uint64)
        padded = np.zeros((slab.shape[0], slab.shape[1], width), dtype=np.uint8)
        padded[:, :, : slab.shape[2]] = slab
        return padded.reshape(-1).view(np.uint64)


class _FoundMany:
    """The same for more numbers than a byte holds, voxel by voxel: rare, so plain."""

    def __init__(self, shape: tuple[int, int, int], size: int) -> None:
        self.table = np.zeros((size, size), dtype=np.int64)
        self.lows, self.highs = np.tile(shape, (size, 1)), np.zeros((size, 3), dtype=np.int64)

    def add(self, predicted: LabelArray, referenced: LabelArray, start: int) -> None:
        """Add slices `start`… of both maps, given as numbers."""
        places = np.nonzero(predicted | referenced)
        guesses, truths = predicted[places], referenced[places]
        np.add.at(self.table, (truths, guesses), 1)
        for axis, offset in enumerate((start, 0, 0)):
            for numbers in (guesses, truths):
                np.minimum.at(self.lows[:, axis], numbers, places[axis] + offset)
                np.maximum.at(self.highs[:, axis], numbers, places[axis] + offset + 1)

    def box(self, number: int) -> Box:
        """Where a number that occurs lies."""
        z, y, x = (
            slice(int(low), int(high))
            for low, high in zip(self.lows[number], self.highs[number], strict=True)
        )
        return z, y, x


def _folded(flags: Flags) -> Flags:
    """The flags of every eight voxels together."""
    halves = flags.view(np.uint64).reshape(-1, 2)
    folded = halves[:, 0] | halves[:, 1]
    folded |= folded >> np.uint64(32)
    folded |= folded >> np.uint64(16)
    return folded.astype(np.uint16)


def union(boxes: list[Box]) -> Box:
    """The smallest box that holds all of `boxes` (at least one)."""
    z, y, x = (
        slice(min(part.start for part in side), max(part.stop for part in side))
        for side in zip(*boxes, strict=True)
    )
    return z, y, x
