"""Thickness against shapes whose thickness is known."""

from __future__ import annotations

import numpy as np
import pytest

from planners.case_fingerprint import centre_of, in_plane_thickness_px


@pytest.mark.parametrize("width", [2, 4, 10, 20])
def test_a_strip_is_as_thick_as_it_is_wide(width: int) -> None:
    mask = np.zeros((3, 100, 100), dtype=bool)
    mask[:, :, 40 : 40 + width] = True
    assert in_plane_thickness_px(mask) == pytest.approx(width, rel=0.1)


def test_a_disk_counts_two_thirds_of_its_diameter() -> None:
    y, x = np.ogrid[:100, :100]
    mask = (((y - 50) ** 2 + (x - 50) ** 2) <= 30**2)[None]
    assert in_plane_thickness_px(mask) == pytest.approx(60 * 2 / 3, rel=0.05)


def test_slices_are_measured_by_themselves() -> None:
    mask = np.zeros((40, 60, 60), dtype=bool)
    mask[:, :, 10:16] = True
    assert in_plane_thickness_px(mask) == pytest.approx(in_plane_thickness_px(mask[:1]) or 0)


def test_nothing_has_no_thickness_and_a_full_slice_ends_at_its_border() -> None:
    assert in_plane_thickness_px(np.zeros((2, 5, 5), dtype=bool)) is None
    assert in_plane_thickness_px(np.ones((2, 6, 200), dtype=bool)) == pytest.approx(6, rel=0.1)


def test_the_centre_is_the_mean_voxel() -> None:
    mask_zyx = np.random.default_rng(0).random((5, 7, 9)) < 0.2
    expected = (np.argwhere(mask_zyx) + 0.5).mean(0) / mask_zyx.shape
    assert centre_of(mask_zyx) == pytest.approx(tuple(expected), abs=6e-4)
