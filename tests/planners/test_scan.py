"""Checking and measuring in one reading gives what each gives alone."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path

import numpy as np
import pytest
from support.datasets import volume_dataset, write_volume

from balrsam_pipeline.dataset import IntegrityReport, check_files, open_dataset
from balrsam_pipeline.dataset.integrity.check_dataset import check_dataset
from planners.fingerprint import changed_cases, extract_fingerprint
from planners.measured import Measured, start_measuring
from planners.scan import scan_dataset


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return volume_dataset(tmp_path / "Dataset001_Small", cases=4)


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Measured]:
    with start_measuring(tmp_path / "measured") as empty:
        yield empty


def scan(dataset: Path, cases: Set[str], measured: Measured) -> IntegrityReport:
    raw = open_dataset(dataset)
    return scan_dataset(raw, check_files(raw), cases, measured, None, 1)


def test_a_scan_is_the_check_and_the_fingerprint(dataset: Path, measured: Measured, tmp_path: Path) -> None:
    raw = open_dataset(dataset)
    assert scan(dataset, raw.training_cases().keys(), measured) == check_dataset(dataset)
    together = extract_fingerprint(raw, tmp_path / "a", None, 1, measured)
    alone = extract_fingerprint(raw, tmp_path / "b", None, 1)
    assert together.fingerprint == alone.fingerprint
    assert together.measured == alone.measured == tuple(raw.training_cases())


def test_all_are_checked_but_only_those_asked_for_are_measured(dataset: Path, measured: Measured) -> None:
    assert scan(dataset, {"case_02"}, measured).training_cases == 4
    assert set(measured.fingerprints) == {"case_02"}


def test_cases_with_errors_are_reported_and_not_measured(dataset: Path, measured: Measured) -> None:
    write_volume(
        dataset / "labelsTr" / "case_01.nii.gz", np.full((10, 40, 36), 77, dtype=np.uint8), (1.0, 1.0, 1.0)
    )
    report = scan(dataset, open_dataset(dataset).training_cases().keys(), measured)
    assert {problem.case for problem in report.errors} == {"case_01"}
    assert "case_01" not in measured.fingerprints


def test_what_changed_is_what_must_be_measured(dataset: Path, tmp_path: Path) -> None:
    raw = open_dataset(dataset)
    assert len(changed_cases(raw, raw.training_cases(), tmp_path)) == 4
    extract_fingerprint(raw, tmp_path, None, 1)
    assert changed_cases(raw, raw.training_cases(), tmp_path) == frozenset()
    write_volume(
        dataset / "imagesTr" / "case_03_0000.nii.gz", np.ones((10, 40, 36), dtype=np.int16), (1.0, 1.0, 1.0)
    )
    assert changed_cases(raw, raw.training_cases(), tmp_path) == {"case_03"}
