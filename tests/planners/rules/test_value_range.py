"""Which normalised values are black and white."""

from __future__ import annotations

from balrsam_pipeline.plan import ChannelStatistics
from planners.rules.value_range import value_range

CT = ChannelStatistics(
    mean=50.0, median=50.0, std=25.0, min=-900.0, max=900.0, percentile_00_5=-150.0, percentile_99_5=250.0
)


def test_ranges_of_each_normalisation() -> None:
    assert value_range("rgb_to_0_1") == value_range("rescale_to_0_1") == (0.0, 1.0)
    assert value_range("z_score", CT) == (-3.0, 3.0)
    assert value_range("ct", CT) == (
        -8.0,
        8.0,
    )  # (-150 - 50) / 25 and (250 - 50) / 25: the window that ct clips to
    assert value_range("none", CT) == (-150.0, 250.0)
