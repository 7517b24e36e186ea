"""Which way a volume is turned to be looked at: as radiologists hang it, by what its header says.

Axial slices show the patient's right on the left and anterior on top, coronal ones the right on the left and
the head on top, sagittal ones anterior on the left and the head on top.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.imageio import Geometry

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)
# the way in which slices, rows and columns go, as SimpleITK names directions: "S" is towards the head
_TOWARDS = {"axial": "SPL", "coronal": "PIL", "sagittal": "LIP"}
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "S": "I", "I": "S"}


@dataclass(frozen=True, slots=True)
class View:
    """How an array (z, y, x) is turned, and what lies at the edges of a slice: left, right, top, bottom.

    Attributes:
        axes: of the array, that become (slice, row, column).
        flips: 1 or -1 for each of these.
    """

    axes: tuple[int, int, int]
    flips: tuple[int, int, int]
    marks: tuple[str, str, str, str]

    def turn(self, array_zyx: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array as (slice, row, column)."""
        return array_zyx.transpose(self.axes)[tuple(slice(None, None, flip) for flip in self.flips)]

    def spacing(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
        """Spacing (z, y, x) as (slice, row, column)."""
        first, second, third = self.axes
        return spacing_mm[first], spacing_mm[second], spacing_mm[third]


def view_of(geometry: Geometry, plane: Plane = "axial") -> View:
    """The view of an image in a plane; pictures and volumes that do not say how they lie are left as stored.

    >>> view_of(Geometry(dimension=3, shape_zyx=(4, 5, 6), spacing_mm=(1.0, 1.0, 1.0))).marks
    ('R', 'L', 'A', 'P')
    """
    letters = geometry.orientation
    if geometry.dimension == 2 or sorted(min(letter, _OPPOSITE[letter]) for letter in letters) != list("AIL"):
        return View((0, 1, 2), (1, 1, 1), ("", "", "", ""))
    axis_of = {letter: 2 - index for index, letter in enumerate(letters)}  # letters are of x, y, z
    towards = _TOWARDS[plane]
    axes = [axis_of.get(letter, axis_of.get(_OPPOSITE[letter], 0)) for letter in towards]
    flips = [1 if letter in axis_of else -1 for letter in towards]
    down, right = towards[1], towards[2]
    return View(
        axes=(axes[0], axes[1], axes[2]),
        flips=(flips[0], flips[1], flips[2]),
        marks=(_OPPOSITE[right], right, _OPPOSITE[down], down),
    )


def slices_to_show(prediction: npt.NDArray[Any], reference: npt.NDArray[Any] | None, count: int) -> list[int]:
    """Slices worth looking at, ascending: those of most disagreement, then of most foreground.

    Args:
        prediction, reference: label values (slice, row, column).
    """
    foreground = (prediction > 0).sum(axis=(1, 2))
    wrong = np.zeros_like(foreground) if reference is None else (prediction != reference).sum(axis=(1, 2))
    order = np.lexsort((np.arange(len(wrong)), -foreground, -wrong))
    return sorted(int(index) for index in order[:count])
