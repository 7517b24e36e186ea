"""Tiles cover every pixel, and their weights peak at the centre."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from balrsam_pipeline.inference.tiling import gaussian_window, padding, tile_starts, tiles


@given(size=st.integers(1, 400), patch=st.integers(1, 200), step=st.floats(0.1, 1.0))
def test_tiles_cover_every_pixel_and_stay_inside(size: int, patch: int, step: float) -> None:
    size = max(size, patch)
    starts = tile_starts(size, patch, step)
    covered = np.zeros(size, dtype=int)
    for start in starts:
        assert 0 <= start <= size - patch
        covered[start : start + patch] += 1
    assert covered.min() >= 1
    assert list(starts) == sorted(set(starts))


@given(size=st.integers(1, 400), patch=st.integers(2, 200), step=st.floats(0.1, 1.0))
def test_neighbouring_tiles_are_no_further_apart_than_the_step(size: int, patch: int, step: float) -> None:
    gaps = np.diff(tile_starts(max(size, patch), patch, step))
    assert gaps.size == 0 or gaps.max() <= max(1.0, patch * step) + 1  # starts are rounded to whole pixels


@given(size=st.integers(1, 100), patch=st.integers(1, 100))
def test_padding_reaches_the_patch_and_no_more(size: int, patch: int) -> None:
    before, after = padding(size, patch)
    assert size + before + after == max(size, patch)
    assert after - before in (0, 1)


def test_the_window_peaks_at_the_centre_and_falls_to_the_edges_alike_on_both_sides() -> None:
    window = gaussian_window((9, 12))
    assert window.shape == (9, 12)
    assert window.max() == 1.0
    assert window[4, 5] == window[4, 6] == 1.0
    np.testing.assert_allclose(window, window[::-1, ::-1], rtol=1e-6)


@given(patch=st.lists(st.integers(1, 12), min_size=2, max_size=3))
def test_the_window_is_a_gaussian_along_each_axis_down_to_its_corners(patch: list[int]) -> None:
    expected = np.ones(patch)
    for place in np.ndindex(*patch):
        for index, side in zip(place, patch, strict=True):
            expected[place] *= np.exp(-0.5 * ((index - (side - 1) / 2) / (side / 8)) ** 2)
    window = gaussian_window(patch)
    assert window.dtype == np.float32
    np.testing.assert_allclose(window, expected / expected.max(), rtol=1e-6)
    assert window.min() > 3e-11  # float32 holds its digits down to 1e-38


def test_a_slice_of_patch_size_is_one_tile() -> None:
    assert len(tiles((32, 48), (32, 48), 0.5)) == 1
    assert len(tiles((33, 48), (32, 48), 0.5)) == 2
