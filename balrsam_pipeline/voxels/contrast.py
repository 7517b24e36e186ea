"""How much of an image's contrast is left once it is divided by the scale that normalisation takes.

Values that stand for missing data (-3.4e38, -32768, -9999 …) stretch the scale until the anatomy becomes one
constant. Suffixes: `channel_zyx` one channel, `mask_zyx` boolean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEAST_CONTRAST = 0.003  # in standard deviations: noise has 2 to 3, hot spots in PET leave 0.03
LITTLE_CONTRAST = 0.1
LEAST_OF_RANGE = 1e-4  # where the scale is the range: one pixel of 65535 leaves 0.002, -1e9 less than 1e-6
LITTLE_OF_RANGE = 0.003
SAMPLED = 1 << 16  # voxels whose values are looked at; the scale is that of all
FEW_LEVELS = 10  # fewer different values are no image but a map, a mask, or a constant


def contrast(channel_zyx: npt.NDArray[Any], scale: float) -> float:
    """The spread of a channel's different values (10th to 90th percentile) once they are divided by `scale`;
    1 for maps of few values.

    Each value counts once, so that a background of one value is no spread however much of the image it fills.

    Args:
        scale: what normalisation divides by, of all voxels: one of 100,000 may stretch it.
    """
    sample = channel_zyx.ravel()
    if channel_zyx.size > SAMPLED:
        places = np.random.default_rng(0).integers(channel_zyx.size, size=SAMPLED)
        sample = channel_zyx.flat[places]
    levels = np.unique(sample.astype(np.float64))
    if len(levels) <= FEW_LEVELS or not scale > 0:
        return 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        return float((levels[-1 - len(levels) // 10] - levels[len(levels) // 10]) / scale)


def mean_and_std(
    channel_zyx: npt.NDArray[Any], mask_zyx: npt.NDArray[np.bool_] | None = None
) -> tuple[float, float]:
    """Mean and standard deviation, inside a mask where there is one; not finite where float64 overflows.

    Two passes over slices in float64: exact enough for any intensity offset, without a float copy of the
    volume.
    """

    def values(z: int) -> npt.NDArray[Any]:
        plane: npt.NDArray[Any] = channel_zyx[z]
        return plane if mask_zyx is None else plane[mask_zyx[z]]

    count = channel_zyx.size if mask_zyx is None else int(mask_zyx.sum())
    depth = range(len(channel_zyx))
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.sum([values(z).sum(dtype=np.float64) for z in depth])) / count
        squares = [np.square(values(z).astype(np.float64) - mean).sum() for z in depth]
        return mean, float(np.sqrt(np.sum(squares) / count))
