"""Values that dataset.json does not know: what is said about them must not merge labels."""

from __future__ import annotations

import numpy as np
import pytest

from balrsam_pipeline.dataset.integrity.checks.labels import check_values
from balrsam_pipeline.dataset.parse_labels import parse_labels


def fix_of(greys: dict[int, int], labels: int) -> str:
    names = {"background": 0} | {f"label_{value}": value for value in range(1, labels + 1)}
    label = np.repeat(list(greys), list(greys.values())).astype(np.uint8).reshape(1, 1, 1, -1)
    scheme = parse_labels({"labels": names}, "dataset.json")
    (problem,) = check_values("case", label, tuple(sorted(greys)), scheme)
    assert problem.kind == "label_unknown_value"
    return problem.fix


def test_three_greys_of_three_labels_are_not_sent_through_a_threshold() -> None:
    fix = fix_of({0: 900, 85: 50, 170: 30, 255: 20}, labels=3)
    assert "85=1,170=2,255=3" in fix and "threshold" not in fix


def test_several_greys_that_jpeg_smeared_are_told_as_that_and_no_fringe_is_called_a_label() -> None:
    fix = fix_of(
        {0: 9000, 128: 900, 255: 800} | dict.fromkeys((1, 2, 30, 90, 127, 129, 200, 254), 5), labels=2
    )
    assert "PNG" in fix and "64-191=1,192-255=2" in fix and "add the value" not in fix


def test_255_beside_labels_is_told_as_void() -> None:
    fix = fix_of({0: 900, 1: 50, 255: 20}, labels=1)
    assert '"ignore": 2' in fix and "void" in fix and "threshold" not in fix


@pytest.mark.parametrize("labels", [1, 2])
def test_a_fringe_is_thresholded_only_where_there_is_one_label(labels: int) -> None:
    fix = fix_of({0: 9000, 255: 900} | dict.fromkeys(range(28, 250, 28), 4), labels)
    assert ("128-255=1" in fix) == (labels == 1)


@pytest.mark.parametrize(
    ("values", "told"), [((2,), "nothing can be learnt"), ((0, 2), "healthy"), ((0,), "healthy")]
)
def test_a_case_that_is_ignored_as_a_whole_is_not_called_a_healthy_one(
    values: tuple[int, ...], told: str
) -> None:
    scheme = parse_labels({"labels": {"background": 0, "a": 1, "ignore": 2}}, "dataset.json")
    (problem,) = check_values("case", np.array(values, np.uint8).reshape(1, 1, 1, -1), values, scheme)
    assert problem.kind == "label_empty" and told in problem.fix
