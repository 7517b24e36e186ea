"""The orientation that cameras and scanners store beside a picture (EXIF, TIFF tag 274), applied as viewers
do."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

TAG = 274
TURNED = (5, 6, 7, 8)  # rows and columns are exchanged


def upright(picture: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """A picture (rows, columns, …) as it is meant to be seen; unknown orientations change nothing.

    Source: EXIF 2.32, tag Orientation: 1 is upright, 3 upside down, 6 and 8 turned by 90°; 2, 4, 5 and 7 are
    mirrored.
    """
    if orientation in TURNED:
        picture = np.swapaxes(picture, 0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return picture


def upright_size(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Height and width of the picture as it is meant to be seen."""
    return (width, height) if orientation in TURNED else (height, width)
