"""Colouring one slice: intensities as grey, labels over them, disagreement.

Suffixes: `slice_cyx` intensities, `label_yx` label values, `picture_yxc` uint8 RGB.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Okabe and Ito's colours, which people with colour-blindness can tell apart; further labels repeat them
COLOURS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
MISSED, SPURIOUS, WRONG = (86, 180, 233), (213, 94, 0), (240, 228, 66)
OPACITY = 0.5
PERCENTILES = (0.5, 99.5)

Picture = npt.NDArray[np.uint8]


def grey(slice_cyx: npt.NDArray[Any], limits: tuple[float, float]) -> Picture:
    """A slice as grey (or as colours where it has three channels), `limits` becoming black and white."""
    low, high = limits
    scaled = (slice_cyx.astype(np.float32) - low) / max(high - low, 1e-6)
    pixels = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    channels = pixels if len(pixels) == 3 else np.repeat(pixels[:1], 3, axis=0)
    return np.ascontiguousarray(channels.transpose(1, 2, 0))


def limits_of(image_czyx: npt.NDArray[Any]) -> tuple[float, float]:
    """What becomes black and white: 0 and 255 for 8-bit pictures, else percentiles of the volume."""
    if image_czyx.dtype == np.uint8 and len(image_czyx) == 3:
        return 0.0, 255.0
    low, high = np.percentile(image_czyx[0], PERCENTILES)
    return float(low), float(high)


def coloured(picture_yxc: Picture, label_yx: npt.NDArray[Any]) -> Picture:
    """Labels over a picture, half transparent, one colour per value."""
    table = np.array([(0, 0, 0), *COLOURS], dtype=np.float32)
    index = np.where(label_yx > 0, (label_yx.astype(np.int64) - 1) % len(COLOURS) + 1, 0)
    return _blend(picture_yxc, table[index], label_yx > 0)


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
