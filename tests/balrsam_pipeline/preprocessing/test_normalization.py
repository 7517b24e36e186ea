"""Normalisation: statistics in float64 whatever the type of the input; an output that lost its contrast is
refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.preprocessing.normalization import channel_transform

SHAPE = (4, 12, 10)


def anatomy(seed: int = 0) -> npt.NDArray[np.float64]:
    """Whole numbers from about 400 to 700."""
    return np.rint(np.random.default_rng(seed).normal(500, 50, SHAPE))


def normalised(channel: npt.NDArray[np.generic], scheme: str = "z_score") -> npt.NDArray[np.float32]:
    return channel_transform(channel, scheme, None).apply(channel, 0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, np.uint16, np.int16, np.int32, np.uint32, np.int64, ">i2"]
)
def test_arithmetic_is_not_done_in_the_type_of_the_input(dtype: npt.DTypeLike) -> None:
    values = anatomy()
    expected = (values - values.mean()) / values.std()
    np.testing.assert_allclose(normalised(values.astype(dtype)), expected, atol=1e-4)


@pytest.mark.parametrize("offset", [2.0**31 - 2000, 2.0**40, 1e12])
@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.uint64])
def test_small_differences_of_large_numbers_are_kept(offset: float, dtype: npt.DTypeLike) -> None:
    values = anatomy()
    expected = (values - values.mean()) / values.std()
    np.testing.assert_allclose(normalised((values + offset).astype(dtype)), expected, atol=1e-3)
    scaled = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(
        normalised((values + offset).astype(dtype), "rescale_to_0_1"), scaled, atol=1e-3
    )


@pytest.mark.parametrize("mark", [np.finfo(np.float32).min, np.finfo(np.float32).max, -1e30, 1e20, -1e9])
@pytest.mark.parametrize("scheme", ["z_score", "rescale_to_0_1"])
def test_a_varying_image_that_would_become_constant_is_refused(mark: float, scheme: str) -> None:
    values = anatomy().astype(np.float32)
    values[:, :2] = mark
    with pytest.raises(PreprocessingError, match="missing data"):
        normalised(values, scheme)


def test_values_whose_squares_overflow_float64_are_refused() -> None:
    values = anatomy() * 1e300
    with pytest.raises(PreprocessingError, match="finite"):
        normalised(values)


@pytest.mark.parametrize(
    "channel",
    [
        np.zeros(SHAPE),
        np.pad(np.ones((2, 4, 4)), ((1, 1), (4, 4), (3, 3))) * 1000,  # a mask as a channel
        np.where(anatomy() > 560, anatomy(), 0),  # mostly black
        np.where(anatomy() > 590, anatomy() * 10, anatomy() / 10),  # hot spots, as in PET
    ],
)
def test_masks_constants_black_frames_and_hot_spots_are_no_missing_data(
    channel: npt.NDArray[np.float64],
) -> None:
    assert np.isfinite(normalised(channel)).all()


@pytest.mark.parametrize("mark", [-3.4e38, 3.4e38, -1e9])
@pytest.mark.parametrize("scheme", ["z_score", "rescale_to_0_1"])
def test_one_mark_among_very_many_voxels_is_enough_to_refuse(mark: float, scheme: str) -> None:
    """Wherever it lies: the contrast of an image is looked at in some of its voxels."""
    for place in (0, 70_000, 150_000):
        values = np.random.default_rng(1).normal(500, 100, (48, 64, 64)).astype(np.float32)
        values.flat[place] = mark
        with pytest.raises(PreprocessingError, match="missing data"):
            normalised(values, scheme)


def test_a_few_hot_voxels_leave_an_image_to_rescale() -> None:
    values = np.random.default_rng(1).normal(500, 100, (48, 64, 64))
    values[4:6, 4:6] = 20_000
    assert np.percentile(normalised(values, "rescale_to_0_1"), 90) < 0.05


def mr() -> npt.NDArray[np.uint16]:
    values = np.clip(np.random.default_rng(0).normal(80, 25, (60, 96, 96)), 0, 160).astype(np.uint16)
    values[30, 60, 60] = 65_535
    return values


def pet() -> npt.NDArray[np.float32]:
    values = np.random.default_rng(0).gamma(1.2, 300, (60, 96, 96)).astype(np.float32)
    values[28:31, 60:63, 60:63] = 400_000
    return values


def x_ray() -> npt.NDArray[np.uint16]:
    values = np.clip(np.random.default_rng(0).normal(120, 30, (1, 512, 512)), 0, 255).astype(np.uint16)
    values[0, :2] = 65_535
    return values


@pytest.mark.parametrize("scheme", ["z_score", "rescale_to_0_1"])
@pytest.mark.parametrize("image", [mr, pet, x_ray])
def test_a_hot_pixel_an_injection_site_and_a_burnt_in_marker_are_no_missing_data(
    image: Callable[[], npt.NDArray[Any]], scheme: str
) -> None:
    values = image().astype(np.float64)
    shift, scale = (values.mean(), values.std()) if scheme == "z_score" else (values.min(), np.ptp(values))
    np.testing.assert_allclose(normalised(image(), scheme), (values - shift) / scale, atol=1e-4, rtol=1e-5)


def test_the_message_says_what_is_left() -> None:
    values = np.linspace(0, 10, 10_001).reshape(1, 73, 137)
    values[0, 0, :2] = 0, 1e6
    with pytest.raises(PreprocessingError, match=r"from 0 to 1e\+06, .* spread of 8e-06"):
        normalised(values, "rescale_to_0_1")


def test_what_helps_where_colours_have_16_bits_is_named_for_a_picture_and_for_a_dataset() -> None:
    colours = np.array([[[0, 65535]]], np.uint16)
    with pytest.raises(PreprocessingError, match=r"8 bits per channel.* dataset\.json"):
        channel_transform(colours, "rgb_to_0_1", None)
