"""One value far from all others does not squash the rest; it is drawn as an arrow that says which it is."""

from __future__ import annotations

import re

import numpy as np
import pytest

from evaluation.reports.html.axis import scale_of
from evaluation.reports.html.charts import dumbbells, group_boxes

DISTANCES = [float(value) for value in np.linspace(1.0, 3.0, 20)]


def test_an_outlier_does_not_squash_distances() -> None:
    scale = scale_of([[*DISTANCES, 400.0]], distance=True)
    assert 3.0 <= scale.high < 4.0 and scale.is_beyond(400.0)


def test_a_failed_case_does_not_squash_scores() -> None:
    scores = [float(value) for value in np.linspace(0.93, 0.97, 20)]
    scale = scale_of([[*scores, 0.0]], distance=False)
    assert 0.8 <= scale.low <= 0.93 and scale.is_beyond(0.0) and scale.high == 1.0


@pytest.mark.parametrize("distance", [True, False])
def test_an_even_spread_is_shown_whole(distance: bool) -> None:
    values = [float(value) for value in np.linspace(0.1, 0.9, 30)]
    scale = scale_of([values], distance)
    assert not any(scale.is_beyond(value) for value in values)


def test_a_label_that_is_bad_in_all_cases_is_no_outlier() -> None:
    scale = scale_of([DISTANCES, [value + 100 for value in DISTANCES]], distance=True)
    assert not scale.is_beyond(103.0)


def test_few_values_are_all_shown() -> None:
    scale = scale_of([[1.0, 2.0], [300.0]], distance=True)
    assert not scale.is_beyond(300.0)


@pytest.mark.parametrize("values", [[0.0] * 6, [0.0] * 6 + [5.0], [1.0] * 6])
@pytest.mark.parametrize("distance", [True, False])
def test_equal_values_give_an_axis(values: list[float], distance: bool) -> None:
    scale = scale_of([values], distance)
    assert scale.high > scale.low


def test_the_arrow_names_case_and_value_and_the_axis_counts_it() -> None:
    pairs = [(f"case_{index}", value) for index, value in enumerate([*DISTANCES, 400.0])]
    drawing = str(group_boxes({"liver": pairs}, "HD95 (mm)", distance=True))
    assert re.search(r"<path class='beyond'[^>]*><title>case_20: 400.0</title>", drawing)
    assert "HD95 (mm); 1 value beyond the axis, as arrows" in drawing


def test_of_two_models_only_what_is_far_out_becomes_an_arrow() -> None:
    rows = [(f"label {index}", value, value + 0.1, "even") for index, value in enumerate(DISTANCES)]
    drawing = str(dumbbells([*rows, ("lost", 2.0, 900.0, "lose")], "mean HD95 (mm)", distance=True))
    assert drawing.count("<path") == 1
    assert "<title>B: 900.0</title>" in drawing
