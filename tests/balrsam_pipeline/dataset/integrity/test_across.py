"""Checks over all cases together take time in proportion to their number."""

from __future__ import annotations

import time

from balrsam_pipeline.dataset import make_folds
from balrsam_pipeline.dataset.integrity.checks.across import check_patients

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
