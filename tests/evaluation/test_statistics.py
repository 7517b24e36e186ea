"""Intervals, paired tests and correction against textbook values and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation import statistics
from evaluation.statistics import bootstrap_means, holm, paired_test


def test_the_bootstrap_interval_is_about_that_of_the_normal_distribution_for_a_normal_sample() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.1, 400)
    (interval,), overall = bootstrap_means(values[:, None])
    half = 1.96 * values.std(ddof=1) / 20
    assert interval == pytest.approx((values.mean() - half, values.mean() + half), abs=0.002)
    assert overall == interval


def test_the_same_scores_give_the_same_interval() -> None:
    values = np.random.default_rng(1).random((30, 3))
    assert bootstrap_means(values) == bootstrap_means(values.copy())


def test_cases_without_a_value_are_left_out_and_labels_without_any_have_no_interval() -> None:
    values = np.array([[0.5, np.nan], [0.7, np.nan], [np.nan, np.nan], [0.9, np.nan]])
    (first, second), overall = bootstrap_means(values)
    assert first is not None and 0.5 <= first[0] < 0.7 < first[1] <= 0.9
    assert second is None and overall == pytest.approx(first)
    assert bootstrap_means(values[:2]) == ([None, None], None)


def test_a_paired_test_finds_a_constant_shift_and_no_difference_in_itself() -> None:
    second = np.random.default_rng(2).random(40)
    better = paired_test(second + 0.01, second, higher_is_better=True)
    assert better.p_value is not None and better.p_value < 1e-6
    assert (better.first_wins, better.ties, better.second_wins) == (40, 0, 0)
    assert better.effect == 1.0 and better.difference == pytest.approx(0.01)
    lower = paired_test(second + 0.01, second, higher_is_better=False)
    assert (lower.first_wins, lower.second_wins, lower.effect) == (0, 40, 1.0)
    same = paired_test(second, second, higher_is_better=True)
    assert (same.p_value, same.effect, same.ties) == (1.0, 0.0, 40)


def test_the_wilcoxon_p_value_of_five_equal_signs_is_one_in_sixteen() -> None:
    test = paired_test(
        np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]),
        np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        higher_is_better=True,
    )
    assert test.p_value == pytest.approx(2 / 2**5) and test.pairs == 5


def test_the_rank_biserial_effect_is_the_difference_of_rank_sums_over_their_total() -> None:
    test = paired_test(np.array([0.3, 0.0, 0.2]), np.array([0.0, 0.1, 0.0]), higher_is_better=True)
    assert test.effect == pytest.approx((3 + 2 - 1) / 6)


def test_no_pair_no_test() -> None:
    test = paired_test(np.array([np.nan]), np.array([1.0]), higher_is_better=True)
    assert (test.pairs, test.p_value, test.difference) == (0, None, None)


def test_holm_corrects_as_in_the_textbook() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p_values: list[float]) -> None:
    adjusted = [value for value in holm(p_values) if value is not None]
    assert all(before <= after <= 1 for before, after in zip(p_values, adjusted, strict=True))
    assert sorted(adjusted) == [
        adjusted[index]
        for index in sorted(range(len(p_values)), key=lambda index: (p_values[index], adjusted[index]))
    ]


def test_many_cases_are_resampled_piece_by_piece_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(3).random((50, 2))
    values[:4, 1] = np.nan
    at_once = statistics.bootstrap_tables({"dice": values, "iou": values / 2})
    monkeypatch.setattr(statistics, "MOST_WEIGHTS", 50 * 7)
    in_pieces = statistics.bootstrap_tables({"dice": values, "iou": values / 2})
    for key in ("dice", "iou"):
        np.testing.assert_allclose(np.array(in_pieces[key][0]), np.array(at_once[key][0]), rtol=1e-12)
        np.testing.assert_allclose(in_pieces[key][1], at_once[key][1], rtol=1e-12)
