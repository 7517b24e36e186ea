"""A raw folder is read as nnU-Net v2 reads it; what is wrong with a case is said before it is used."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from balrsam_pipeline.dataset import image_cases, open_dataset, read_case
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import Geometry, Image, write_image, write_label

GRID = Geometry(dimension=3, shape_zyx=(3, 4, 5), spacing_mm=(2.0, 1.0, 1.0))


def make_dataset(folder: Path, channels: int = 1, cases: int = 3, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "channel_names": {str(index): f"MR{index}" for index in range(channels)},
        "labels": {"background": 0, "liver": 1},
        "numTraining": cases,
        "file_ending": ".nii.gz",
    }
    for case in range(cases):
        for channel in range(channels):
            voxels = np.full((1, *GRID.shape_zyx), case * 10 + channel, np.int16)
            write_image(folder / "imagesTr" / f"liver_{case}_{channel:04d}.nii.gz", Image(voxels, GRID))
        write_label(folder / "labelsTr" / f"liver_{case}.nii.gz", np.ones(GRID.shape_zyx), GRID)
    (folder / "dataset.json").write_text(json.dumps(content | changes))
    return folder


def test_cases_channels_and_labels_are_found_by_name(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path / "Dataset001_Liver", channels=2))
    cases = dataset.training_cases()
    assert dataset.name == "Dataset001_Liver"
    assert dataset.description.channel_names == ("MR0", "MR1")
    assert dataset.description.label_names == {0: "background", 1: "liver"}
    assert list(cases) == ["liver_0", "liver_1", "liver_2"]
    image, label = read_case(cases["liver_1"], dataset.description)
    assert image.data[:, 0, 0, 0].tolist() == [10, 11]
    assert label is not None
    assert label.data.shape == (1, 3, 4, 5)
    assert dataset.test_cases() == {}


def test_cases_may_be_listed_in_dataset_json(tmp_path: Path) -> None:
    listed = {"b": {"images": ["imagesTr/liver_1_0000.nii.gz"], "label": "labelsTr/liver_1.nii.gz"}}
    dataset = open_dataset(make_dataset(tmp_path, dataset=listed))
    assert list(dataset.training_cases()) == ["b"]
    (tmp_path / "labelsTr" / "liver_1.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"liver_1\.nii\.gz"):
        dataset.training_cases()


def test_the_old_key_modality_is_read_too(tmp_path: Path) -> None:
    make_dataset(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    content["modality"] = content.pop("channel_names")
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert open_dataset(tmp_path).description.channel_names == ("MR0",)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"channel_names": None}, "no channel_names"),
        ({"channel_names": ["T1"]}, "channel_names"),
        ({"channel_names": {"1": "T1"}}, "channel numbers 1"),
        ({"channel_names": {"9" * 5000: "T1"}}, "channel numbers 999"),
        ({"channel_names": {"0": "T1", "00": "T2"}}, "channel numbers 0, 00"),
        ({"file_ending": ".dcm"}, ".dcm"),
        ({"file_ending": None}, "no file_ending"),
        ({"overwrite_image_reader_writer": "MyIO"}, "MyIO"),
        ({"dataset": {"a": "x"}}, "case a"),
    ],
)
def test_a_malformed_dataset_json_is_named_with_its_key(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    make_dataset(tmp_path, cases=1, **changes)
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert complaint in caught.value.found
    assert caught.value.where == str(tmp_path / "dataset.json")


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_dataset_json_that_is_no_json_object_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DatasetError, match=r"dataset\.json"):
        open_dataset(tmp_path)


def test_a_missing_label_a_missing_channel_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path, channels=2))
    (tmp_path / "labelsTr" / "liver_2.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"liver_2\.nii\.gz"):
        dataset.training_cases()
    (tmp_path / "imagesTr" / "liver_1_0001.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"liver_1 \(has 0000\)"):
        dataset.training_cases()
    with pytest.raises(DatasetError, match="no image named CASE_0000"):
        image_cases(tmp_path / "labelsTr", ".nii.gz", 1)
    with pytest.raises(DatasetError, match="no such folder"):
        image_cases(tmp_path / "nowhere", ".nii.gz", 1)


@pytest.mark.parametrize("suffix", ["label", "foreground"])
def test_cases_that_would_write_each_others_preprocessed_files_are_refused_by_both_names(
    tmp_path: Path, suffix: str
) -> None:
    dataset = open_dataset(make_dataset(tmp_path))
    for path in (tmp_path / "imagesTr" / "liver_2_0000.nii.gz", tmp_path / "labelsTr" / "liver_2.nii.gz"):
        path.rename(path.with_name(path.name.replace("liver_2", f"liver_1_{suffix}")))
    with pytest.raises(DatasetError, match=f"'liver_1' and 'liver_1_{suffix}'"):
        dataset.training_cases()


def test_a_case_may_be_called_as_a_stored_file_of_a_case_that_is_not_there(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path))
    for path in (tmp_path / "imagesTr" / "liver_2_0000.nii.gz", tmp_path / "labelsTr" / "liver_2.nii.gz"):
        path.rename(path.with_name(path.name.replace("liver_2", "liver_label")))
    assert list(dataset.training_cases()) == ["liver_0", "liver_1", "liver_label"]


def test_an_rgb_picture_is_one_file_of_three_channels(tmp_path: Path) -> None:
    PillowImage.fromarray(np.zeros((4, 5, 3), np.uint8)).save(tmp_path / "eye_0000.png")
    assert image_cases(tmp_path, ".png", 3)["eye"].images == (tmp_path / "eye_0000.png",)


@pytest.mark.parametrize(
    ("label", "complaint", "fix"),
    [
        (np.full((3, 4, 5), 255), "a mask of 0 and 255", "--fix"),
        (np.full((3, 4, 5), 7), "label values 7", "dataset.json"),
        (np.ones((3, 4, 6)), "shape", "resample"),
    ],
)
def test_a_label_that_does_not_fit_is_refused_when_the_case_is_read(
    tmp_path: Path, label: Any, complaint: str, fix: str
) -> None:
    dataset = open_dataset(make_dataset(tmp_path))
    write_label(
        tmp_path / "labelsTr" / "liver_0.nii.gz",
        label,
        Geometry(dimension=3, shape_zyx=label.shape, spacing_mm=GRID.spacing_mm),
    )
    with pytest.raises(DatasetError) as caught:
        read_case(dataset.training_cases()["liver_0"], dataset.description)
    assert complaint in caught.value.found
    assert fix in caught.value.fix
    assert "liver_0" in caught.value.where


def test_a_fourth_channel_is_refused_when_the_case_is_read(tmp_path: Path) -> None:
    names = {"0": "R", "1": "G", "2": "B"}
    make_dataset(tmp_path, cases=0, channel_names=names, file_ending=".png")
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "labelsTr").mkdir()
    PillowImage.fromarray(np.zeros((4, 5, 4), np.uint8)).save(tmp_path / "imagesTr" / "eye_0000.png")
    PillowImage.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / "labelsTr" / "eye.png")
    dataset = open_dataset(tmp_path)
    with pytest.raises(DatasetError, match="4 channel"):
        read_case(dataset.training_cases()["eye"], dataset.description)


def test_jpeg_images_have_png_labels(tmp_path: Path) -> None:
    make_dataset(tmp_path, cases=0, channel_names={"0": "R", "1": "G", "2": "B"}, file_ending=".jpg")
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    PillowImage.fromarray(np.full((4, 5, 3), 90, np.uint8)).save(tmp_path / "imagesTr" / "eye_0000.jpg")
    PillowImage.fromarray(np.ones((4, 5), np.uint8)).save(tmp_path / "labelsTr" / "eye.png")
    dataset = open_dataset(tmp_path)
    image, label = read_case(dataset.training_cases()["eye"], dataset.description)
    assert image.data.shape == (3, 1, 4, 5)
    assert label is not None
    assert label.data.all()


def test_real_datasets_open(test_data: Path) -> None:
    for name, cases, tests in (("Dataset004_Hippocampus", 200, 60), ("Dataset020_DRIVE", 20, 0)):
        dataset = open_dataset(test_data / "raw" / name)
        assert (len(dataset.training_cases()), len(dataset.test_cases())) == (cases, tests)


def test_a_quick_look_sees_that_the_files_of_cases_are_there(tmp_path: Path) -> None:
    dataset = open_dataset(make_dataset(tmp_path / "Dataset001_Liver", channels=2))
    cases = tuple(dataset.training_cases())
    assert dataset.has_training_cases(cases) and dataset.has_training_cases(())
    assert not dataset.has_training_cases(("liver_7",))
    for name in ("labelsTr/liver_0.nii.gz", "imagesTr/liver_1_0001.nii.gz"):
        (dataset.folder / name).rename(tmp_path / "away")
        assert not dataset.has_training_cases(cases)
        (tmp_path / "away").rename(dataset.folder / name)
    assert dataset.has_training_cases(cases)
    shutil.rmtree(dataset.folder / "labelsTr")
    assert not dataset.has_training_cases(cases)


def test_a_quick_look_takes_one_file_for_all_colours(tmp_path: Path) -> None:
    (tmp_path / "Dataset002_Skin").mkdir()
    dataset = open_dataset(
        make_dataset(
            tmp_path / "Dataset002_Skin",
            cases=0,
            channel_names={"0": "R", "1": "G", "2": "B"},
            file_ending=".png",
        )
    )
    for name in ("imagesTr/mole_0000.png", "labelsTr/mole.png"):
        (dataset.folder / name).parent.mkdir(parents=True, exist_ok=True)
        PillowImage.new("RGB" if "images" in name else "L", (4, 4)).save(dataset.folder / name)
    assert dataset.has_training_cases(["mole"]) and list(dataset.training_cases()) == ["mole"]
