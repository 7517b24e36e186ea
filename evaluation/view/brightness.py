"""How bright voxels are drawn: colours as they are, CT in a window of Hounsfield units, else percentiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Window = tuple[float, float]
# black and white in HU; source: the usual width and level of viewers (soft tissue 400/40, lung 1500/-600,
# bone 1800/400, brain 80/40, liver 150/70)
PRESETS: dict[str, Window] = {
    "soft-tissue": (-160.0, 240.0),
    "lung": (-1350.0, 150.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
    "liver": (-5.0, 145.0),
}
CT_AIR_HU = -500.0  # an image with values below this is taken for CT
PERCENTILES = (1.0, 99.5)
# HU of a byte on a page: all that the presets show, finest where soft tissue lies
BYTES, HU = (0, 63, 224, 255), (-1350.0, -200.0, 300.0, 1500.0)


def is_ct(image_czyx: npt.NDArray[Any]) -> bool:
    """Whether an image has one channel with values that only CT has."""
    return len(image_czyx) == 1 and bool(image_czyx.min(initial=0) < CT_AIR_HU)


def window_of(image_czyx: npt.NDArray[Any]) -> Window:
    """What becomes black and white where nobody says: 0 and 255 of colours, soft tissue of CT, else
    percentiles."""
    if image_czyx.dtype == np.uint8 and len(image_czyx) == 3:
        return 0.0, 255.0
    if is_ct(image_czyx):
        return PRESETS["soft-tissue"]
    low, high = np.percentile(image_czyx[0], PERCENTILES)
    return float(low), float(high)


def ct_bytes(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """CT as bytes, from which a page makes any window; `ct_values` says what they mean."""
    return np.asarray(np.interp(image, HU, BYTES).round(), dtype=np.uint8)


def ct_values() -> list[float]:
    """HU of each of the 256 bytes of `ct_bytes`.

    >>> round(ct_values()[int(ct_bytes(np.array([40.0]))[0])])
    39
    """
    return [round(float(value), 1) for value in np.interp(range(256), BYTES, HU)]


def shades(values: npt.NDArray[Any], window: Window) -> npt.NDArray[np.uint8]:
    """Brightness 0 to 255 of any array.

    >>> shades(np.array([-160, 40, 500]), PRESETS["soft-tissue"]).tolist()
    [0, 127, 255]
    """
    low, high = window
    scaled = (values.astype(np.float32) - low) / max(high - low, 1e-6)
    return np.asarray(np.clip(scaled, 0, 1) * 255, dtype=np.uint8)
