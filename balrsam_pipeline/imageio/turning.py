"""Turning volumes by their headers: axes exchanged and flipped, no voxel interpolated.

Orientation codes name the direction in which x, y, z grow; arrays are (…, z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.imageio.geometry import (
    Geometry,
    Image,
    direction_differs,
    origin_differs,
    spacing_differs,
)

OPPOSITE = {"L": "R", "R": "L", "P": "A", "A": "P", "S": "I", "I": "S"}


@dataclass(frozen=True, slots=True)
class Turn:
    """How the stored axes of a volume become those of another orientation.

    Attributes:
        order: for each array axis (z, y, x) of the result, the axis of the source.
        flipped: which axes of the result run the other way.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    def array(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """An array (…, z, y, x) turned; a view."""
        lead = array.ndim - 3
        turned = array.transpose((*range(lead), *(lead + axis for axis in self.order)))
        return np.flip(turned, self._flips(lead))

    def back(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A turned array as its source is stored; a view."""
        lead = array.ndim - 3
        unflipped = np.flip(array, self._flips(lead))
        return unflipped.transpose((*range(lead), *(lead + self.order.index(axis) for axis in range(3))))

    def _flips(self, lead: int) -> tuple[int, ...]:
        return tuple(lead + axis for axis, flip in enumerate(self.flipped) if flip)

    def image(self, image: Image) -> Image:
        """A volume turned, with the geometry that it then has."""
        return Image(self.array(image.data), self.geometry(image.geometry))

    def geometry(self, source: Geometry) -> Geometry:
        """Where the voxels of the turned volume lie: the same places in space."""
        columns = np.array(source.direction, dtype=np.float64).reshape(3, 3)
        origin = np.array(source.origin_mm, dtype=np.float64)
        turned = np.empty((3, 3))
        for axis, (of, flip) in enumerate(zip(self.order, self.flipped, strict=True)):
            column = columns[:, 2 - of]  # columns belong to x, y, z
            turned[:, 2 - axis] = -column if flip else column
            if flip:
                origin = origin + column * source.spacing_mm[of] * (source.shape_zyx[of] - 1)
        first, second, third = self.order
        return Geometry(
            dimension=source.dimension,
            shape_zyx=(source.shape_zyx[first], source.shape_zyx[second], source.shape_zyx[third]),
            spacing_mm=(source.spacing_mm[first], source.spacing_mm[second], source.spacing_mm[third]),
            origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
            direction=tuple(float(value) for value in turned.ravel()),
        )


def turn_to(geometry: Geometry, orientation: str) -> Turn | None:
    """How to turn a volume to an orientation such as "LPS"; None for pictures, and where nothing is to be
    turned."""
    if geometry.dimension != 3 or len(orientation) != 3:
        return None
    return _turn(geometry.stored, orientation)


def _turn(own: str, orientation: str) -> Turn | None:
    if own == orientation:
        return None
    order, flipped = [], []
    for letter in reversed(orientation):  # array axes are z, y, x
        same = letter if letter in own else OPPOSITE[letter]
        order.append(2 - own.index(same))
        flipped.append(same != letter)
    return Turn((order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))


def turn_to_one_of(geometry: Geometry, orientations: Sequence[str]) -> Turn | None:
    """How to turn a volume that is stored in none of these orientations to the first of them; None where none
    are known, and as `turn_to`."""
    if not orientations or geometry.orientation in orientations:
        return None
    return turn_to(geometry, orientations[0])


def laid_on(image: Image, grid: Geometry) -> Image:
    """`image`, a volume or 2D, turned by its header onto `grid`, where that brings its voxels to the very
    places of the grid's; else as it is.

    A header that was lost (an identity) does not fit after turning, and the voxels stay in their order.
    """
    alike = image.geometry.dimension == grid.dimension
    turn = _turn(image.geometry.stored, grid.stored) if alike else None
    if turn is None:
        return image
    turned = turn.geometry(image.geometry)
    fits = turned.shape_zyx == grid.shape_zyx and not (
        spacing_differs(grid, turned) or origin_differs(grid, turned) or direction_differs(grid, turned)
    )
    return turn.image(image) if fits else image
