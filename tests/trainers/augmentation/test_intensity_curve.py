"""The intensity curve: NumPy's interpolation between the same knots, and the two places that apply it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainers.augmentation.intensity_curve import (
    GAIN,
    INTENSITY_CURVE,
    PIECES,
    REACH,
    SHIFT,
    apply,
    apply_on_device,
)


def drawn(seed: int, channels: int = 1) -> np.ndarray:
    uniform = np.random.default_rng(seed).random((3, channels))
    return INTENSITY_CURVE.draw_for_device(uniform, (0.3, 0.9))


def image(seed: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, size=(channels, 3, 24, 20)).astype(np.float32)


@given(seed=st.integers(0, 2**31))
def test_it_is_a_straight_line_between_knots_and_beyond_the_last(seed):
    before, curve = image(seed), drawn(seed)
    low, reach = before.min(), min(before.max(), before.mean() + REACH * before.std()) - before.min()
    heights = np.exp(curve[0, :PIECES]) / np.exp(curve[0, :PIECES]).sum()
    beyond = 1000.0  # a knot far away, on a line as steep as that from the first to the last
    knots = low + reach * np.append(np.linspace(0, 1, PIECES + 1), beyond)
    values = low + reach * np.append(np.append(0, heights.cumsum()), beyond)
    expected = np.interp(before, knots, values) * np.exp(curve[0, PIECES]) + curve[0, PIECES + 1]
    np.testing.assert_allclose(apply(before.copy(), curve), expected, atol=1e-3)


@given(seed=st.integers(0, 2**31))
def test_the_order_of_intensities_stays(seed):
    before = image(seed)
    after = apply(before.copy(), drawn(seed))
    assert np.diff(after.ravel()[before.ravel().argsort()]).min() >= -1e-4


def test_curves_spread_as_their_range_says():
    many = np.concatenate([INTENSITY_CURVE.draw_for_device(u, (0.5, 0.5)) for u in uniforms(2000)])
    spread = many.std(0)
    assert spread[:PIECES] == pytest.approx([0.5] * PIECES, rel=0.1)
    assert spread[PIECES:] == pytest.approx([0.5 * GAIN, 0.5 * SHIFT], rel=0.1)


def uniforms(count: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, 1))


def test_the_device_applies_what_the_loader_applies_to_each_channel_its_own_curve():
    before, curves = image(0, channels=2), drawn(1, channels=2)
    on_device = apply_on_device(torch.from_numpy(before)[None], curves[None], np.zeros(1, np.uint32))[0]
    np.testing.assert_allclose(on_device.numpy(), apply(before.copy(), curves), atol=1e-5)
    second = apply(before[1:].copy(), curves[1:])
    np.testing.assert_allclose(on_device[1:].numpy(), second, atol=1e-5)


def test_no_curve_changes_nothing_and_a_flat_image_stays_flat():
    before = image(0)
    np.testing.assert_array_equal(apply(before.copy(), np.zeros((1, PIECES + 2))), before)
    flat = apply(np.full((1, 1, 8, 8), 3.0, np.float32), drawn(2))
    assert np.isfinite(flat).all() and np.ptp(flat) == 0
