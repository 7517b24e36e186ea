"""What is mechanical is fixed in a new folder; the rest stays and is reported; the old folder is never
touched."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import broken_datasets
import numpy as np
import pytest
import SimpleITK as sitk
from broken_datasets import CATALOGUE
from PIL import Image as PillowImage

from balrsam_pipeline.dataset import open_dataset, read_case
from balrsam_pipeline.dataset.integrity.check_dataset import check_dataset
from balrsam_pipeline.dataset.integrity.fix import fix_dataset
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import read_image, read_label


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(
    "broken",
    [broken for broken in CATALOGUE if broken.fixable],
    ids=lambda broken: broken.name or broken.kind,
)
def test_what_is_mechanical_is_fixed_in_a_new_folder(fresh: Any, tmp_path: Path, broken: Any) -> None:
    folder = fresh(broken.base, tmp_path / "Dataset001_Broken")
    broken.damage(folder)
    before = contents(folder)
    report = check_dataset(folder)
    result = fix_dataset(folder, report, tmp_path / "Dataset002_Fixed")
    assert broken.kind in {problem.kind for problem in result.fixed}
    assert check_dataset(result.target).problems == ()
    assert contents(folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Dataset001_Broken", "Dataset002_Fixed"]


NOT_FIXABLE = [
    broken
    for broken in CATALOGUE
    if not broken.fixable and broken.kind not in ("dataset_json", "listed_file_missing")
]


@pytest.mark.parametrize("broken", NOT_FIXABLE, ids=lambda broken: broken.name or broken.kind)
def test_what_is_not_mechanical_goes_along_and_is_still_reported(
    fresh: Any, tmp_path: Path, broken: Any
) -> None:
    folder = fresh(broken.base, tmp_path / "Dataset001_Broken")
    broken.damage(folder)
    report = check_dataset(folder)
    result = fix_dataset(folder, report, tmp_path / "Dataset002_Fixed")
    assert (broken.kind, broken.case) in {(problem.kind, problem.case) for problem in result.left}
    if broken.kind not in ("other_format", "labels_folder_missing", "images_folder_missing"):
        again = {(problem.kind, problem.case) for problem in check_dataset(result.target).problems}
        assert (broken.kind, broken.case) in again


def test_fixed_values_are_the_right_ones(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_pictures, tmp_path / "Dataset001_Eyes")
    before = read_label(broken_datasets.picture_label(folder)).data
    broken_datasets.save_label_as(folder, "L")
    broken_datasets.save_as(folder, "RGBA")
    fix_dataset(folder, check_dataset(folder), tmp_path / "Dataset002_Eyes")
    np.testing.assert_array_equal(
        read_label(broken_datasets.picture_label(tmp_path / "Dataset002_Eyes")).data, before
    )
    picture = "imagesTr/eye_1_0000.png"
    np.testing.assert_array_equal(
        read_image([tmp_path / "Dataset002_Eyes" / picture]).data, read_image([folder / picture]).data[:3]
    )


def test_transparency_is_dropped_from_all_images_and_from_dataset_json(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_pictures, tmp_path / "Dataset001_Alpha")
    broken_datasets.add_alpha(folder)
    (folder / "imagesTs").mkdir()
    test = folder / "imagesTs" / "eye_9_0000.png"
    pixels = np.random.default_rng(9).integers(0, 256, (10, 12, 4)).astype(np.uint8)
    PillowImage.fromarray(pixels).save(test)
    result = fix_dataset(folder, check_dataset(folder), tmp_path / "Dataset002_Alpha")
    assert check_dataset(result.target).problems == ()
    assert open_dataset(result.target).description.channel_names == ("image0", "image1", "image2")
    for name in ("imagesTr/eye_1_0000.png", "imagesTs/eye_9_0000.png"):
        np.testing.assert_array_equal(
            read_image([result.target / name]).data, read_image([folder / name]).data[:3]
        )


def test_gaps_in_labels_are_closed_in_files_and_in_dataset_json(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_volumes, tmp_path / "Dataset001_Gaps")
    good = read_label(broken_datasets.label(folder)).data
    broken_datasets.edit_json(folder, labels={"background": 0, "organ": 5, "lesion": 300, "ignore": 301})
    broken_datasets.each_label(folder, lambda zyx: np.array([0, 5, 300])[zyx])
    fix_dataset(folder, check_dataset(folder), tmp_path / "Dataset002_Gaps")
    np.testing.assert_array_equal(read_label(broken_datasets.label(tmp_path / "Dataset002_Gaps")).data, good)
    assert check_dataset(tmp_path / "Dataset002_Gaps").problems == ()


def test_a_2d_label_that_is_turned_by_its_header_keeps_it(tmp_path: Path) -> None:
    folder, label = tmp_path / "Dataset001_Flat", np.zeros((8, 9), np.uint8)
    label[1:4, 1:3] = 1
    for case in "ab":
        for place, name, array in (
            ("imagesTr", f"{case}_0000.mha", label * 40),
            ("labelsTr", f"{case}.mha", label),
        ):
            (folder / place).mkdir(parents=True, exist_ok=True)
            image = sitk.GetImageFromArray(array[:, ::-1] if name == "b.mha" else array)
            if name == "b.mha":
                image.SetDirection((-1.0, 0.0, 0.0, 1.0))
                image.SetOrigin((8.0, 0.0))
            sitk.WriteImage(image, str(folder / place / name))
    content = {"channel_names": {"0": "x"}, "labels": {"background": 0, "a": 1}, "numTraining": 2}
    (folder / "dataset.json").write_text(json.dumps(content | {"file_ending": ".mha"}))
    report = check_dataset(folder)
    assert {problem.kind for problem in report.warnings} >= {"label_origin", "label_direction"}
    fixed = fix_dataset(folder, report, tmp_path / "Dataset002_Fixed").target
    for dataset in (open_dataset(folder), open_dataset(fixed)):
        read = read_case(dataset.training_cases()["b"], dataset.description)[1]
        assert read is not None
        np.testing.assert_array_equal(read.data[0, 0], label)


def test_a_damaged_label_does_not_stop_the_others_from_being_fixed(fresh: Any, tmp_path: Path) -> None:
    folder = fresh(broken_datasets.good_volumes, tmp_path / "Dataset001_Gaps")
    broken_datasets.edit_json(folder, labels={"background": 0, "organ": 1, "lesion": 3})
    broken_datasets.each_label(folder, lambda zyx: np.where(zyx == 2, 3, zyx))
    broken_datasets.label(folder, 4).write_bytes(b"x")
    result = fix_dataset(folder, check_dataset(folder), tmp_path / "Dataset002_Gaps")
    assert [(problem.kind, problem.case) for problem in result.left] == [("label_unreadable", "organ_004")]
    assert [(problem.kind, problem.case) for problem in check_dataset(result.target).problems] == [
        ("label_unreadable", "organ_004")
    ]


@pytest.mark.parametrize("place", ["Dataset001_Broken", "Dataset001_Broken/fixed"])
def test_the_old_folder_is_refused_as_a_target(fresh: Any, tmp_path: Path, place: str) -> None:
    folder = fresh(broken_datasets.good_volumes, tmp_path / "Dataset001_Broken")
    before = contents(folder)
    with pytest.raises(DatasetError):
        fix_dataset(folder, check_dataset(folder), tmp_path / place)
    assert contents(folder) == before


def test_a_copy_that_fails_leaves_no_folder(
    fresh: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fresh(broken_datasets.good_volumes, tmp_path / "Dataset001_Broken")

    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("balrsam_pipeline.dataset.integrity.fix.copy_image", full)
    with pytest.raises(DatasetError, match="no space left"):
        fix_dataset(folder, check_dataset(folder), tmp_path / "Dataset002_Fixed")
    assert [path.name for path in tmp_path.iterdir()] == ["Dataset001_Broken"]
