"""Checking and measuring in one reading gives what each gives alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.datasets import volume_dataset, write_volume

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.dataset.integrity.check_dataset import check_dataset
from planners.fingerprint import changed_cases, extract_fingerprint
from planners.scan import scan_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return volume_dataset(tmp_path / "Dataset001_Small", cases=4)


def test_a_scan_is_the_check_and_the_fingerprint(dataset: Path, tmp_path: Path) -> None:
    raw = open_dataset(dataset)
    scan = scan_dataset(raw, set(raw.training_cases()), None, 1)
    assert scan.report == check_dataset(dataset)
    together = extract_fingerprint(raw, tmp_path / "a", None, 1, scan.measurements)
    alone = extract_fingerprint(raw, tmp_path / "b", None, 1)
    assert together.fingerprint == alone.fingerprint
    assert together.measured == alone.measured == tuple(raw.training_cases())


def test_all_are_checked_but_only_those_asked_for_are_measured(dataset: Path) -> None:
    scan = scan_dataset(open_dataset(dataset), {"case_02"}, None, 1)
    assert scan.report.training_cases == 4
    assert set(scan.measurements) == {"case_02"}


def test_cases_with_errors_are_reported_and_not_measured(dataset: Path) -> None:
    write_volume(
        dataset / "labelsTr" / "case_01.nii.gz", np.full((10, 40, 36), 77, dtype=np.uint8), (1.0, 1.0, 1.0)
    )
    raw = open_dataset(dataset)
    scan = scan_dataset(raw, set(raw.training_cases()), None, 1)
    assert {problem.case for problem in scan.report.errors} == {"case_01"}
    assert "case_01" not in scan.measurements


def test_what_changed_is_what_must_be_measured(dataset: Path, tmp_path: Path) -> None:
    raw = open_dataset(dataset)
    assert len(changed_cases(raw, raw.training_cases(), tmp_path)) == 4
    extract_fingerprint(raw, tmp_path, None, 1)
    assert changed_cases(raw, raw.training_cases(), tmp_path) == frozenset()
    write_volume(
        dataset / "imagesTr" / "case_03_0000.nii.gz", np.ones((10, 40, 36), dtype=np.int16), (1.0, 1.0, 1.0)
    )
    assert changed_cases(raw, raw.training_cases(), tmp_path) == {"case_03"}
