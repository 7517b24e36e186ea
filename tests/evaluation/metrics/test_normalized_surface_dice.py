"""NSD: known surfaces, symmetry, and agreement with brute force over surface elements."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from evaluation.metrics.normalized_surface_dice import element_areas, neighbourhood_codes, surface_dice

Mask = npt.NDArray[np.bool_]


def cube(start: int, stop: int) -> Mask:
    mask = np.zeros((24, 24, 24), dtype=bool)
    mask[start:stop, start:stop, start:stop] = True
    return mask


def slow_nsd(
    prediction: Mask, reference: Mask, spacing_mm: tuple[float, float, float], tolerance_mm: float
) -> float:
    """Every element against every element."""
    areas, points = [], []
    for mask in (prediction, reference):
        codes = neighbourhood_codes(mask)
        there = np.argwhere((codes > 0) & (codes < 255))
        points.append(there * np.array(spacing_mm))
        areas.append(np.array([element_areas(spacing_mm)[codes[tuple(index)]] for index in there]))
    between = cdist(*points)
    within = [between.min(axis=1) <= tolerance_mm + 1e-9, between.min(axis=0) <= tolerance_mm + 1e-9]
    return float((areas[0] @ within[0] + areas[1] @ within[1]) / (areas[0].sum() + areas[1].sum()))


def test_a_flat_face_of_a_box_weighs_its_physical_area() -> None:
    codes = neighbourhood_codes(np.ones((4, 5, 6), dtype=bool))
    areas = element_areas((2.0, 0.5, 0.25))[codes]
    assert areas[0, 2, 2] == pytest.approx(0.5 * 0.25)  # a corner of the grid in the middle of a z face
    assert areas[2, 0, 2] == pytest.approx(2.0 * 0.25)
    assert areas[2, 2, 0] == pytest.approx(2.0 * 0.5)


def test_the_area_of_a_ball_is_that_of_its_marching_cubes_mesh() -> None:
    z, y, x = np.ogrid[-20:21, -20:21, -20:21]
    codes = neighbourhood_codes(z * z + y * y + x * x <= 15**2)
    area = element_areas((1.0, 1.0, 1.0))[codes].sum()
    assert (
        4 * np.pi * 15**2 < area < 1.12 * 4 * np.pi * 15**2
    )  # a staircase of patches is a little larger than the ball


def test_a_mask_and_its_complement_have_the_same_surface() -> None:
    areas = element_areas((3.0, 1.0, 0.7))
    assert areas == pytest.approx(areas[::-1])


def test_shifted_cubes_agree_where_the_shift_is_within_tolerance() -> None:
    first, second = cube(4, 12), np.roll(cube(4, 12), 2, axis=2)
    at_one, at_two = surface_dice(first, second, (1.0, 1.0, 1.0), (1.0, 2.0))
    assert at_two == 1.0 and 0.6 < at_one < 1.0


def test_a_contour_in_2d_is_measured_in_length() -> None:
    square = np.zeros((1, 10, 10), dtype=bool)
    square[0, 2:8, 2:8] = True
    codes = neighbourhood_codes(square[0])
    straight, corner = 4 * 5, 4 * np.sqrt(0.5)
    assert element_areas((1.0, 1.0))[codes].sum() == pytest.approx(straight + corner)
    assert surface_dice(square, square, (1.0, 1.0, 1.0), (0.0,), (0,)) == (1.0,)


@settings(max_examples=150, deadline=None)
@given(
    pair=st.tuples(arrays(np.bool_, (4, 5, 3)), arrays(np.bool_, (4, 5, 3))),
    spacing_mm=st.tuples(*[st.sampled_from((0.5, 1.0, 3.0))] * 3),
    tolerance_mm=st.sampled_from((0.0, 0.5, 1.0, 2.0)),
)
def test_nsd_is_what_brute_force_over_elements_gives(
    pair: tuple[Mask, Mask], spacing_mm: tuple[float, float, float], tolerance_mm: float
) -> None:
    assume(pair[0].any() and pair[1].any())
    (found,) = surface_dice(*pair, spacing_mm, (tolerance_mm,))
    assert found == pytest.approx(slow_nsd(*pair, spacing_mm, tolerance_mm), abs=1e-6)
    assert surface_dice(*pair[::-1], spacing_mm, (tolerance_mm,))[0] == pytest.approx(found)


@pytest.mark.parametrize("spacing_mm", [(2.5, 0.85, 0.7), (1.0, 1.0, 1.0), (0.1, 0.3, 7.7)], ids=str)
def test_all_within_the_tolerance_is_exactly_one(spacing_mm: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        first, second = rng.random((2, 6, 7, 8)) < rng.uniform(0.1, 0.9)
        assert surface_dice(first, second, spacing_mm, (99.0, 1e3)) == (1.0, 1.0)
        assert surface_dice(first, first, spacing_mm, (0.0,)) == (1.0,)
        low, high = surface_dice(first, second, spacing_mm, (0.5, 1.0))
        assert 0 <= low <= high <= 1
