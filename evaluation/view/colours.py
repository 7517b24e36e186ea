"""Colouring one slice: intensities as grey, labels over them, disagreement.

Suffixes: `slice_cyx` intensities, `label_yx` label values, `picture_yxc` uint8 RGB.
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.view.brightness import Window, shades

# Okabe and Ito's colours, which people with colour-blindness can tell apart
FIRST = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
GOLDEN = 0.381966  # of a turn: the hues that follow lie apart from those before
LIGHTNESS = (0.62, 0.42, 0.78)
MISSED, SPURIOUS, WRONG = (86, 180, 233), (213, 94, 0), (240, 228, 66)
OPACITY = 0.5

Colour = tuple[int, int, int]
Picture = npt.NDArray[np.uint8]


def colours_of(count: int) -> tuple[Colour, ...]:
    """Colours of that many labels, no two alike.

    >>> len(set(colours_of(120)))
    120
    """
    further = []
    for number in range(max(0, count - len(FIRST))):
        hue, light = number * GOLDEN % 1.0, LIGHTNESS[number % len(LIGHTNESS)]
        red, green, blue = colorsys.hls_to_rgb(hue, light, 0.75)
        further.append((round(255 * red), round(255 * green), round(255 * blue)))
    return (*FIRST[:count], *further)


def grey(slice_cyx: npt.NDArray[Any], window: Window) -> Picture:
    """A slice as grey (or as colours where it has three channels), the ends of `window` black and white."""
    pixels = shades(slice_cyx, window)
    channels = pixels if len(pixels) == 3 else np.repeat(pixels[:1], 3, axis=0)
    return np.ascontiguousarray(channels.transpose(1, 2, 0))


def coloured(picture_yxc: Picture, label_yx: npt.NDArray[Any], colours: Mapping[int, Colour]) -> Picture:
    """Labels over a picture, half transparent; values without a colour are not drawn."""
    drawn = np.isin(label_yx, list(colours))
    tint = np.zeros((*label_yx.shape, 3), dtype=np.float32)
    for value in np.unique(label_yx[drawn]):
        tint[label_yx == value] = colours[int(value)]
    return _blend(picture_yxc, tint, drawn)


def disagreement(
    picture_yxc: Picture, prediction_yx: npt.NDArray[Any], reference_yx: npt.NDArray[Any]
) -> Picture:
    """Where they differ: missed (blue), spurious (red-orange), another label (yellow)."""
    table = np.array([(0, 0, 0), MISSED, SPURIOUS, WRONG], dtype=np.float32)
    differs = prediction_yx != reference_yx
    kind = np.select([~differs, prediction_yx == 0, reference_yx == 0], [0, 1, 2], default=3)
    return _blend(picture_yxc, table[kind], differs)


def _blend(
    picture_yxc: Picture, colours_yxc: npt.NDArray[np.float32], where_yx: npt.NDArray[np.bool_]
) -> Picture:
    mixed = picture_yxc * (1 - OPACITY) + colours_yxc * OPACITY
    return np.where(where_yx[..., None], mixed, picture_yxc).astype(np.uint8)
