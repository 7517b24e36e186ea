"""Which normalised values of a channel are black and white to an encoder: planned once, as `input_ranges`."""

from __future__ import annotations

from balrsam_pipeline.plan import ChannelStatistics, Normalization

SIGMAS = 3.0  # a z-score beyond this many is as black or white as one at it
SMALLEST_STD = 1e-8  # as in the normalisation itself


def value_range(scheme: Normalization, statistics: ChannelStatistics | None = None) -> tuple[float, float]:
    """Which normalised values of a channel are black and white to the encoder.

    Args:
        scheme: how the channel is normalised.
        statistics: of the channel over the dataset's foreground, raw values; `ct` and `none` need them to
            know their range.

    Returns:
        (low, high), low < high.
    """
    if scheme in ("rgb_to_0_1", "rescale_to_0_1"):
        return 0.0, 1.0
    if scheme == "z_score" or statistics is None or statistics.percentile_99_5 <= statistics.percentile_00_5:
        return -SIGMAS, SIGMAS
    low, high = statistics.percentile_00_5, statistics.percentile_99_5
    if scheme == "none":
        return low, high
    std = max(statistics.std, SMALLEST_STD)
    return (low - statistics.mean) / std, (high - statistics.mean) / std
