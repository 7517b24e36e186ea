"""Checks over all cases together take time in proportion to their number."""

from __future__ import annotations

import time

import pytest

from balrsam_pipeline.dataset import make_folds
from balrsam_pipeline.dataset.integrity.check_case import CaseFacts
from balrsam_pipeline.dataset.integrity.checks.across import check_consistency, check_patients

LONGEST_CPU_S = 3.0


def test_patients_of_thousands_of_images_are_found_on_both_sides_of_folds() -> None:
    cases = [f"patient{number // 2:05d}_frame{number % 2}" for number in range(10_000)]
    folds = make_folds(cases)
    parts = [({case[:12] for case in fold.train}, {case[:12] for case in fold.val}) for fold in folds]
    straddling = set().union(*(train & val for train, val in parts))
    began = time.process_time()
    (problem,) = check_patients(folds, None, from_file=False)
    assert time.process_time() - began < LONGEST_CPU_S  # a set per case of 8,000 others would take ten
    assert problem.found.startswith(f"{len(straddling)} name(s)")


@pytest.mark.parametrize(
    ("usual", "odd", "severity"),
    [
        ((1.0, 1.0, 1.0), (1.0, 2000.0, 2000.0), "error"),
        ((1.0, 1.0, 1.0), (1e-6, 1e-6, 1e-6), "error"),
        ((1.0, 1.0, 1.0), (20.0, 20.0, 20.0), "warning"),
        ((2000.0, 2000.0, 2000.0), (2000.0, 2000.0, 2000.0), None),
    ],
)
def test_a_spacing_that_is_odd_by_itself_and_among_the_others_is_an_error(
    usual: tuple[float, float, float], odd: tuple[float, float, float], severity: str | None
) -> None:
    cases = [CaseFacts(case=f"c{number}", dimension=3, spacing_mm=usual) for number in range(4)]
    found = list(check_consistency([*cases, CaseFacts(case="odd", dimension=3, spacing_mm=odd)]))
    assert [(problem.case, problem.severity) for problem in found] == (
        [("odd", severity)] if severity else []
    )
