"""Intensity normalisation, one scheme per channel, worked out first and applied slab by slab (nnU-Net v2's
schemes).

Every scheme is "clip, subtract, divide", so it is drawn up once from the whole channel and then applied to
any part of it: no float copy of the volume is needed. Suffixes: `channel_zyx` one channel, `mask_zyx`
boolean.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.plan import ChannelStatistics, Normalization
from balrsam_pipeline.voxels import LEAST_CONTRAST, LEAST_OF_RANGE, contrast, mean_and_std

SMALLEST_SCALE = 1e-8  # nnU-Net's guard against constant images
RGB_MAX = 255
# float32 holds 24 bits: a shift this many scales away leaves four decimals of what is normalised
FLOAT32_SHIFT = 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTransform:
    """(clip(value, lower, upper) - shift) / scale; inside `mask_zyx` only, where there is one."""

    shift: float
    scale: float
    lower: float | None = None
    upper: float | None = None
    mask_zyx: npt.NDArray[np.bool_] | None = None

    def apply(self, slab_zyx: npt.NDArray[Any], start: int) -> npt.NDArray[np.float32]:
        """Normalise slices `start` … of the channel that this transform was drawn up for; returns float32 of
        the same shape."""
        wide = abs(self.shift) > FLOAT32_SHIFT * self.scale
        values: npt.NDArray[Any] = slab_zyx.astype(np.float64 if wide else np.float32)
        if self.lower is not None or self.upper is not None:
            np.clip(values, self.lower, self.upper, out=values)
        inside = slice(None) if self.mask_zyx is None else self.mask_zyx[start : start + len(slab_zyx)]
        values[inside] -= values.dtype.type(self.shift)
        values[inside] /= values.dtype.type(self.scale)
        return values.astype(np.float32, copy=False)


def channel_transform(
    channel_zyx: npt.NDArray[Any],
    scheme: Normalization,
    statistics: ChannelStatistics | None,
    mask_zyx: npt.NDArray[np.bool_] | None = None,
) -> ChannelTransform:
    """Draw up the normalisation of one channel of one case, with statistics in float64 whatever its type.

    Args:
        channel_zyx: the cropped channel, any dtype.
        statistics: of this channel over the dataset's foreground; the scheme `ct` needs them.
        mask_zyx: restricts `z_score` to these voxels; the others stay as they are.

    Raises:
        PreprocessingError: values are not finite or so far apart that the image becomes constant, `ct`
            without statistics, or `rgb_to_0_1` of values outside 0…255.

    Source: nnU-Net v2, `default_normalization_schemes.py`.
    """
    return _SCHEMES[scheme](channel_zyx, statistics, mask_zyx)


def _z_score(
    channel_zyx: npt.NDArray[Any],
    _statistics: ChannelStatistics | None,
    mask_zyx: npt.NDArray[np.bool_] | None,
) -> ChannelTransform:
    if mask_zyx is not None and not mask_zyx.any():
        mask_zyx = None
    mean, std = mean_and_std(channel_zyx, mask_zyx)
    _require_finite(mean, std)
    _require_contrast(channel_zyx, std, LEAST_CONTRAST)
    return ChannelTransform(shift=mean, scale=max(std, SMALLEST_SCALE), mask_zyx=mask_zyx)


def _ct(
    _channel: npt.NDArray[Any], statistics: ChannelStatistics | None, _mask: npt.NDArray[np.bool_] | None
) -> ChannelTransform:
    if statistics is None:
        raise PreprocessingError(
            "normalisation 'ct'",
            found="no channel statistics in the plan",
            expected="mean, std and percentiles of the dataset's foreground",
            fix="plan the dataset again: balrsam plan_and_preprocess DATASET",
        )
    return ChannelTransform(
        shift=statistics.mean,
        scale=max(statistics.std, SMALLEST_SCALE),
        lower=statistics.percentile_00_5,
        upper=statistics.percentile_99_5,
    )


def _rgb(
    channel_zyx: npt.NDArray[Any], _statistics: ChannelStatistics | None, _mask: npt.NDArray[np.bool_] | None
) -> ChannelTransform:
    low, high = channel_zyx.min(), channel_zyx.max()
    if not (low >= 0 and high <= RGB_MAX):
        raise PreprocessingError(
            "normalisation 'rgb_to_0_1'",
            found=f"values from {low} to {high}",
            expected="colour values from 0 to 255",
            fix="save the picture with 8 bits per channel; where a whole dataset is so, name the channel "
            "otherwise in its dataset.json (rescale_to_0_1, or any name for z-score)",
        )
    return ChannelTransform(shift=0.0, scale=float(RGB_MAX))


def _rescale(
    channel_zyx: npt.NDArray[Any], _statistics: ChannelStatistics | None, _mask: npt.NDArray[np.bool_] | None
) -> ChannelTransform:
    low, high = float(channel_zyx.min()), float(channel_zyx.max())
    _require_finite(low, high, high - low)
    _require_contrast(channel_zyx, high - low, LEAST_OF_RANGE)
    return ChannelTransform(shift=low, scale=max(high - low, SMALLEST_SCALE))


def _none(
    _channel: npt.NDArray[Any], _statistics: ChannelStatistics | None, _mask: npt.NDArray[np.bool_] | None
) -> ChannelTransform:
    return ChannelTransform(shift=0.0, scale=1.0)


def _require_contrast(channel_zyx: npt.NDArray[Any], scale: float, least: float) -> None:
    if (left := contrast(channel_zyx, scale)) < least:
        low, high = float(channel_zyx.min()), float(channel_zyx.max())
        raise PreprocessingError(
            "image",
            found=f"values from {low:g} to {high:g}, which leave most others a spread of {left:.1g} once "
            "normalised",
            expected="intensities without marks for missing data",
            fix="replace them in the image by the value of its background, such as 0",
        )


def _require_finite(*values: float) -> None:
    if not all(math.isfinite(value) for value in values):
        raise PreprocessingError(
            "image",
            found="NaN or infinite values",
            expected="finite intensities",
            fix="replace them in the image, or let balrsam verify DATASET --fix NEW_FOLDER do it",
        )


_Scheme = Callable[
    [npt.NDArray[Any], ChannelStatistics | None, npt.NDArray[np.bool_] | None], ChannelTransform
]
_SCHEMES: dict[Normalization, _Scheme] = {
    "ct": _ct,
    "z_score": _z_score,
    "rgb_to_0_1": _rgb,
    "rescale_to_0_1": _rescale,
    "none": _none,
}
