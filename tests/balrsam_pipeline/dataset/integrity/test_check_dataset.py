"""Every kind of broken dataset is found with its case and fix; good ones are left alone; nothing crashes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import broken_datasets
import numpy as np
import pytest
from broken_datasets import CATALOGUE
from PIL import Image as PillowImage
from support.plans import example_plan

from balrsam_pipeline.dataset import check_files, open_dataset, read_case
from balrsam_pipeline.dataset.integrity.check_case import inspect_case
from balrsam_pipeline.dataset.integrity.check_dataset import check_dataset, report_of
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.preprocessing import preprocess_image


def test_the_catalogue_holds_at_least_thirty_kinds() -> None:
    assert len({broken.kind for broken in CATALOGUE}) >= 30
    assert len({broken.name or broken.kind for broken in CATALOGUE}) == len(CATALOGUE)


def test_every_kind_is_documented() -> None:
    page = (Path(__file__).parents[4] / "docs" / "datasets.md").read_text(encoding="utf-8")
    assert [broken.kind for broken in CATALOGUE if f"`{broken.kind}`" not in page] == []


@pytest.mark.parametrize(
    "good", [broken_datasets.good_volumes, broken_datasets.good_pictures, broken_datasets.good_stacks]
)
def test_a_good_dataset_has_no_problem(fresh: Any, tmp_path: Path, good: Any) -> None:
    report = check_dataset(fresh(good, tmp_path / "Dataset001_Good"))
    assert report.problems == ()
    assert report.training_cases == 6
    assert "nothing wrong" in report.table()


@pytest.mark.parametrize("orientation", [3, 6])
def test_pictures_and_masks_that_are_turned_alike_are_sound(
    fresh: Any, tmp_path: Path, orientation: int
) -> None:
    folder = fresh(broken_datasets.good_pictures, tmp_path / "Dataset001_Turned")
    broken_datasets.turn(folder, orientation, label_too=True)
    assert check_dataset(folder).problems == ()


@pytest.mark.parametrize("broken", CATALOGUE, ids=lambda broken: broken.name or broken.kind)
def test_what_is_broken_is_found_with_its_case_and_fix(fresh: Any, tmp_path: Path, broken: Any) -> None:
    folder = fresh(broken.base, tmp_path / "Dataset001_Broken")
    broken.damage(folder)
    report = check_dataset(folder)
    found = [problem for problem in report.problems if problem.kind == broken.kind]
    assert {problem.case for problem in found} == {broken.case}, report.table()
    assert {problem.severity for problem in found} == {broken.severity}
    assert all(problem.found and problem.expected and problem.fix for problem in found)
    assert found[0].fix in report.table()
    listed = json.loads(json.dumps(report.to_json()))["problems"]
    assert [problem["fix"] for problem in listed] == [problem.fix for problem in report.problems]


def test_all_problems_of_all_cases_come_in_one_report(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_volumes, tmp_path / "Dataset001_Broken")
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


def test_workers_find_what_one_process_finds(
    fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("balrsam_pipeline.dataset.integrity.check_dataset.SMALL_BYTES", 0)
    folder = fresh(broken_datasets.good_volumes, tmp_path / "Dataset001_Broken")
    broken_datasets.ct(folder, 0).write_bytes(b"x")
    broken_datasets.change(broken_datasets.label(folder, 1), broken_datasets.put(7, "uint8"))
    assert check_dataset(folder, workers=2) == check_dataset(folder, workers=1)


def test_a_pass_that_reads_every_case_anyway_makes_the_same_report(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_volumes, tmp_path / "Dataset001_Broken")
    broken_datasets.change(broken_datasets.label(folder, 1), broken_datasets.put(7, "uint8"))
    dataset = open_dataset(folder)
    inspected = [inspect_case(files, dataset.description) for files in dataset.training_cases().values()]
    tests = [inspect_case(files, dataset.description).facts for files in dataset.test_cases().values()]
    files = check_files(dataset).problems
    assert report_of(dataset, files, [case.facts for case in inspected], tests) == check_dataset(folder)
    assert [problem.kind for problem in inspected[1].facts.problems] == ["label_unknown_value"]
    assert inspected[1].image is not None


def test_255_alone_is_void_where_other_cases_have_it_beside_a_label(fresh: Any, tmp_path: Path) -> None:
    """`--fix` would make the label of what nobody labelled."""
    folder = fresh(broken_datasets.good_pictures, tmp_path / "Dataset001_Void")
    for index, values in enumerate([(0, 1, 255), (0, 255)]):
        mask = np.resize(np.array(values, np.uint8), (10, 12))
        PillowImage.fromarray(mask).save(folder / "labelsTr" / f"eye_{index}.png")
    problems = check_dataset(folder).errors
    assert {(problem.kind, problem.case) for problem in problems} == {
        ("label_unknown_value", "eye_0"),
        ("label_unknown_value", "eye_1"),
    }
    assert all("void" in problem.fix for problem in problems)


def test_a_fourth_channel_that_is_constant_everywhere_is_told_as_transparency(
    fresh: Any, tmp_path: Path
) -> None:
    folder = fresh(broken_datasets.good_pictures, tmp_path / "Dataset001_Alpha")
    broken_datasets.add_alpha(folder)
    problems = check_dataset(folder).problems
    assert {(problem.kind, problem.severity) for problem in problems} == {("constant_alpha", "warning")}
    assert len(problems) == 6
    assert "alpha" in problems[0].found and "--fix" in problems[0].fix and "leave" not in problems[0].fix


def test_a_fourth_channel_that_some_case_uses_is_no_transparency(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_pictures, tmp_path / "Dataset001_Infrared")
    broken_datasets.add_alpha(folder, constant=False)
    assert {problem.kind for problem in check_dataset(folder).problems} == {"constant_channel"}


def test_one_volume_is_told_how_to_become_several_cases(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_stacks, tmp_path / "Dataset001_Stack")
    images = sorted((folder / "imagesTr").glob("*.tif"))
    for path in images[1:]:
        path.unlink()
        (folder / "labelsTr" / path.name.replace("_0000", "")).unlink()
    (problem,) = [problem for problem in check_dataset(folder).problems if problem.kind == "too_few_cases"]
    assert "blocks of slices" in problem.fix and "numpy.array_split" in problem.fix


@pytest.mark.parametrize("name", ["Dataset004_Hippocampus", "Dataset020_DRIVE"])
def test_real_datasets_have_no_error(test_data: Path, name: str) -> None:
    report = check_dataset(test_data / "raw" / name)
    assert report.errors == ()
    assert {problem.kind for problem in report.warnings} <= {"label_stored_as_float"}


@pytest.mark.parametrize("broken", CATALOGUE, ids=lambda broken: broken.name or broken.kind)
def test_the_check_finds_all_that_preprocessing_refuses(fresh: Any, tmp_path: Path, broken: Any) -> None:
    folder = fresh(broken.base, tmp_path / "Dataset001_Broken")
    broken.damage(folder)
    try:
        dataset = open_dataset(folder)
        for files in dataset.training_cases().values():
            image, label = read_case(files, dataset.description)
            plan = example_plan()
            configuration = dataclasses.replace(
                plan.configurations["2d"],
                spacing_mm=image.geometry.spacing_mm,
                normalization=("z_score",) * len(image.data),
                normalize_inside_mask=(False,) * len(image.data),
            )
            preprocess_image(image, label, plan, configuration)
    except BalrsamError as refused:
        assert check_dataset(folder).errors, refused
