"""Masks that are outlines: seen, and filled where the user asks for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.ndimage import binary_fill_holes

THIN = 5.0  # times as large as itself is what an outline encloses; rings of tissue stay below 3


def is_outline(label_zyx: npt.NDArray[np.uint16]) -> bool:
    """Whether the labels of a picture are thin closed lines.

    Example:
        >>> ring = np.zeros((1, 40, 40), np.uint16)
        >>> ring[0, 5:35, 5:35] = 1
        >>> ring[0, 6:34, 6:34] = 0
        >>> is_outline(ring), is_outline(filled(ring)), int(filled(ring).sum())
        (True, False, 900)
    """
    drawn = label_zyx > 0
    enclosed = sum(int(binary_fill_holes(plane).sum()) for plane in drawn)
    return bool(drawn.any()) and enclosed > THIN * int(drawn.sum())


def filled(label_zyx: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """The label map with what each label's lines enclose, slice by slice; the smallest first, so that an
    outline within another keeps its inside."""
    result = label_zyx.copy()
    for plane in result:
        inside = {value: binary_fill_holes(plane == value) for value in np.unique(plane[plane > 0])}
        for value in sorted(inside, key=lambda value: int(inside[value].sum())):
            plane[inside[value] & (plane == 0)] = value
    return result
