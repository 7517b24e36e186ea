"""Every kind of broken dataset is found with its case and mend; good ones are left alone; nothing crashes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from balrsam_pipeline.atomic import read_json, write_json
from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.dataset.inspection import check_case, inspect_case
from balrsam_pipeline.dataset.integrity import check_dataset, report_of
from balrsam_pipeline.dataset.report import IntegrityReport
from balrsam_pipeline.errors import DatasetError

_spec = importlib.util.spec_from_file_location("broken_datasets", Path(__file__).with_name("broken_datasets.py"))
broken_datasets = sys.modules["broken_datasets"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(broken_datasets)
CATALOGUE = broken_datasets.CATALOGUE


def test_the_catalogue_holds_at_least_thirty_kinds() -> None:
    assert len({broken.kind for broken in CATALOGUE}) >= 30
    assert len({broken.name or broken.kind for broken in CATALOGUE}) == len(CATALOGUE)


@pytest.mark.parametrize("good", [broken_datasets.good_volumes, broken_datasets.good_pictures, broken_datasets.good_stacks])
def test_a_good_dataset_has_no_problem(tmp_path: Path, good: Any) -> None:
    report = check_dataset(good(tmp_path / "Dataset001_Good"))
    assert report.problems == ()
    assert report.training_cases == 6
    assert "nothing wrong" in report.table()
    report.raise_errors()


@pytest.mark.parametrize("broken", CATALOGUE, ids=lambda broken: broken.name or broken.kind)
def test_what_is_broken_is_found_with_its_case_and_mend(tmp_path: Path, broken: Any) -> None:
    folder = broken.base(tmp_path / "Dataset001_Broken")
    broken.damage(folder)
    report = check_dataset(folder)
    found = [problem for problem in report.problems if problem.kind == broken.kind]
    assert {problem.case for problem in found} == {broken.case}, report.table()
    assert {problem.severity for problem in found} == {broken.severity}
    assert all(problem.found and problem.expected and problem.mend for problem in found)
    assert found[0].mend in report.table()
    write_json(tmp_path / "integrity.json", report.to_json())
    assert IntegrityReport.from_json(read_json(tmp_path / "integrity.json"), "integrity.json") == report
    if broken.severity == "error":
        with pytest.raises(DatasetError):
            report.raise_errors()


def test_all_problems_of_all_cases_come_in_one_report(tmp_path: Path) -> None:
    folder = broken_datasets.good_volumes(tmp_path / "Dataset001_Broken")
    broken_datasets.ct(folder, 0).write_bytes(b"x")
    broken_datasets.change(broken_datasets.label(folder, 1), broken_datasets.put(7, "uint8"))
    broken_datasets.label(folder, 2).unlink()
    broken_datasets.change(broken_datasets.pet(folder, 3), broken_datasets.put(float("nan"), "float32"))
    broken_datasets.change(broken_datasets.label(folder, 3), origin_mm=(0.0, 0.0, 0.0))
    found = {(problem.kind, problem.case) for problem in check_dataset(folder).problems}
    assert found == {
        ("image_unreadable", "organ_000"),
        ("label_unknown_value", "organ_001"),
        ("label_missing", "organ_002"),
        ("nan_or_infinite", "organ_003"),
        ("label_origin", "organ_003"),
    }


def test_workers_find_what_one_process_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balrsam_pipeline.dataset.integrity.SMALL_BYTES", 0)
    folder = broken_datasets.good_volumes(tmp_path / "Dataset001_Broken")
    broken_datasets.ct(folder, 0).write_bytes(b"x")
    broken_datasets.change(broken_datasets.label(folder, 1), broken_datasets.put(7, "uint8"))
    assert check_dataset(folder, workers=2) == check_dataset(folder, workers=1)


def test_a_pass_that_reads_every_case_anyway_makes_the_same_report(tmp_path: Path) -> None:
    folder = broken_datasets.good_volumes(tmp_path / "Dataset001_Broken")
    broken_datasets.change(broken_datasets.label(folder, 1), broken_datasets.put(7, "uint8"))
    dataset = open_dataset(folder)
    inspected = [inspect_case(files, dataset.description) for files in dataset.training_cases().values()]
    tests = [inspect_case(files, dataset.description).facts for files in dataset.test_cases().values()]
    assert report_of(dataset, [case.facts for case in inspected], tests) == check_dataset(folder)
    files = dataset.training_cases()["organ_001"]
    assert inspected[1].image is not None
    problems = check_case(files, dataset.description, inspected[1].image, inspected[1].label)
    assert [problem.kind for problem in problems] == ["label_unknown_value"]


@pytest.mark.parametrize("name", ["Dataset004_Hippocampus", "Dataset020_DRIVE"])
def test_real_datasets_have_no_error(test_data: Path, name: str) -> None:
    report = check_dataset(test_data / "raw" / name)
    assert report.errors == ()
    assert {problem.kind for problem in report.warnings} <= {"label_stored_as_float"}
