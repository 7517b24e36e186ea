"""Masks as words of 64 voxels, so that a border or a comparison of a whole neighbourhood is a few operations
on an eighth of the bytes.

Words are flat arrays; zero margins around the mask let any offset within reach be a plain shift. Suffixes:
`_zyx` a mask (z, y, x).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
Points = npt.NDArray[np.int64]

WORD = np.dtype("<u8")  # little-endian, so that bit i of a row's bytes is bit i of its words
BITS = 64
LEFT = 8  # zero bits before each row: one byte; a row's right margin is the next row's left one


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where the voxels of a box lie in words.

    Attributes:
        shape: (z, y, x) of the box.
        margins: zero planes and rows (z, y) on each side; along x there are always `LEFT`.
        row: words of a row.
        plane: words of a plane, margins included.
    """

    shape: tuple[int, int, int]
    margins: tuple[int, int]
    row: int = field(init=False)
    plane: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "row", -(-(LEFT + self.shape[2]) // BITS))
        object.__setattr__(self, "plane", (self.shape[1] + 2 * self.margins[1]) * self.row)

    @property
    def words(self) -> int:
        """Words in all."""
        return (self.shape[0] + 2 * self.margins[0]) * self.plane

    def pack(self, mask_zyx: Mask) -> Words:
        """The words of a mask of the grid's shape."""
        packed = np.packbits(mask_zyx, axis=-1, bitorder="little")
        words = np.zeros(self.words, dtype=WORD)
        (z, y, _), (above, before) = self.shape, self.margins
        rows = words.view(np.uint8).reshape(z + 2 * above, y + 2 * before, -1)
        rows[above : above + z, before : before + y, 1 : 1 + packed.shape[-1]] = packed
        return words

    def unpack(self, words: Words, start: int, stop: int) -> Mask:
        """Planes `start`… of the mask that the words hold."""
        margin, before = self.margins
        planes = words[(margin + start) * self.plane : (margin + stop) * self.plane].view(np.uint8)
        voxels = np.unpackbits(planes, bitorder="little").reshape(
            stop - start, self.shape[1] + 2 * before, -1
        )
        return voxels[:, before : before + self.shape[1], LEFT : LEFT + self.shape[2]].view(np.bool_)

    def points(self, index: npt.NDArray[np.intp], bits: Words) -> Points:
        """The voxels (n, 3), in z, y, x, that are set in the words `bits` at the places `index`; in C order
        if `index` ascends."""
        plane = index // self.plane
        within = index - plane * self.plane
        row = within // self.row
        left = (within - row * self.row) * BITS - LEFT
        octets = bits.astype(WORD).view(np.uint8)
        filled = np.flatnonzero(octets != 0)
        within_filled = np.flatnonzero(np.unpackbits(octets.take(filled), bitorder="little"))
        place = filled.take(within_filled >> 3) * 8 + (within_filled & 7)
        which = place // BITS
        points = np.empty((len(place), 3), dtype=np.int64)
        points[:, 0] = (plane - self.margins[0]).take(which)
        points[:, 1] = (row - self.margins[1]).take(which)
        points[:, 2] = left.take(which) + (place & (BITS - 1))
        return points


def shifted(words: Words, voxels: int) -> Words:
    """Every bit moved along x by up to `LEFT` voxels; bits that leave a row end in a margin."""
    if voxels == 0:
        return words
    near, far = np.uint64(abs(voxels)), np.uint64(BITS - abs(voxels))
    if voxels > 0:
        moved = words << near
        moved[1:] |= words[:-1] >> far
    else:
        moved = words >> near
        moved[:-1] |= words[1:] << far
    return moved


def border(words: Words, grid: Grid, flat_axes: tuple[int, ...] = ()) -> Words:
    """Voxels of a mask with a face neighbour that is not in it; beyond the grid nothing is in it.

    Args:
        words: packed by `grid`, which has margins along every axis that is not flat.
        flat_axes: axes along which the image (not the box) has one voxel: a slice is a 2D image, so they do
            not count.
    """
    axes = [axis for axis in range(3) if axis not in flat_axes]
    if not axes:
        return words.copy()
    inner = words.copy()
    for step in [(grid.plane, grid.row)[axis] for axis in axes if axis < 2]:
        inner[step:] &= words[:-step]
        inner[:-step] &= words[step:]
    if 2 in axes:
        inner &= shifted(words, 1)
        inner &= shifted(words, -1)
    np.invert(inner, out=inner)
    inner &= words
    return inner


def count(words: Words) -> int:
    """Set bits."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))
