"""How much of an image's contrast is left once it is divided by its standard deviation.

Values that stand for missing data (-3.4e38, -32768, -9999 …) stretch the scale until the anatomy becomes one
constant. Suffix: `channel_zyx` one channel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_CONTRAST = 0.003  # in standard deviations; noise alone has 2 to 3, hot spots in PET leave 0.03
LITTLE_CONTRAST = 0.1
SAMPLED = 1 << 16  # voxels looked at
FEW_LEVELS = 10  # fewer different values are no image but a map, a mask, or a constant


def contrast(channel_zyx: npt.NDArray[Any]) -> float:
    """The spread of a channel's different values (10th to 90th percentile) in standard deviations; 1 for maps
    of few values.

    Each value counts once, so that a background of one value is no spread however much of the image it fills.
    """
    sample = channel_zyx.ravel()
    if channel_zyx.size > SAMPLED:
        places = np.random.default_rng(0).integers(channel_zyx.size, size=SAMPLED)
        sample = channel_zyx.flat[places]
    values = sample.astype(np.float64)
    levels = np.unique(values)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = values.std()
        spread = levels[-1 - len(levels) // 10] - levels[len(levels) // 10]
        return float(spread / scale) if len(levels) > FEW_LEVELS and scale > 0 else 1.0
