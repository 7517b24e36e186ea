"""Decathlon and nnU-Net v1 folders become v2 folders with the same voxels; the source is not written to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.cli import main
from balrsam_pipeline.dataset import check_dataset, open_dataset, read_case
from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import Geometry, Image, read_image, write_image

CASES = 5


def volume(seed: int, shape: tuple[int, ...]) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(seed).integers(-50, 900, shape).astype(np.int16))
    image.SetSpacing((1.0, 1.5, 4.0, 1.0)[: image.GetDimension()])
    image.SetOrigin((-9.0, 3.0, 12.5, 0.0)[: image.GetDimension()])
    return image


def label() -> sitk.Image:
    voxels = np.zeros((4, 6, 7), np.uint8)
    voxels[1, 1:4, 1:4], voxels[2, 2:4, 2:4] = 1, 2
    image = sitk.GetImageFromArray(voxels)
    image.CopyInformation(volume(0, (4, 6, 7)))
    return image


def make_v1(folder: Path, decathlon: bool, channels: int = 2) -> Path:
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True)
    for index in range(CASES + 1):
        place, case = ("imagesTr", f"BRATS_{index:03d}") if index < CASES else ("imagesTs", "BRATS_900")
        parts = [volume(10 * index + channel, (4, 6, 7)) for channel in range(channels)]
        if decathlon:
            sitk.WriteImage(
                sitk.JoinSeries(parts) if channels > 1 else parts[0], str(folder / place / f"{case}.nii.gz")
            )
        else:
            for channel, part in enumerate(parts):
                sitk.WriteImage(part, str(folder / place / f"{case}_{channel:04d}.nii.gz"))
        if index < CASES:
            sitk.WriteImage(label(), str(folder / "labelsTr" / f"{case}.nii.gz"))
    content = {
        "name": "BRATS",
        "licence": "CC-BY-SA 4.0",
        "modality": {"0": "FLAIR", "1": "T1w"} if channels == 2 else {"0": "CT"},
        "labels": {"0": "background", "1": "edema", "2": "tumour"},
        "numTraining": CASES,
        "training": [
            {"image": f"./imagesTr/BRATS_{index:03d}.nii.gz", "label": f"./labelsTr/BRATS_{index:03d}.nii.gz"}
            for index in range(CASES)
        ],
        "test": ["./imagesTs/BRATS_900.nii.gz"],
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    (folder / "imagesTr" / "._BRATS_000.nii.gz").write_bytes(b"mac")
    return folder


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("source", ["decathlon", "nnunet_v1"])
def test_the_new_folder_holds_the_same_voxels_and_labels(tmp_path: Path, source: str, channels: int) -> None:
    folder = make_v1(tmp_path / "Task01", source == "decathlon", channels)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    converted = CONVERTERS[source](Conversion(source=folder, target=tmp_path / "Dataset001_BRATS"))
    assert (converted.training_cases, converted.test_cases) == (CASES, 1)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert check_dataset(converted.target).errors == ()
    dataset = open_dataset(converted.target)
    assert dataset.description.labels.names == ("edema", "tumour")
    image, found = read_case(dataset.training_cases()["BRATS_003"], dataset.description)
    for channel in range(channels):
        np.testing.assert_array_equal(
            image.data[channel], sitk.GetArrayFromImage(volume(30 + channel, (4, 6, 7)))
        )
    assert image.geometry.spacing_mm == (4.0, 1.5, 1.0)
    assert image.geometry.origin_mm == (-9.0, 3.0, 12.5)
    assert found is not None
    np.testing.assert_array_equal(found.data[0], sitk.GetArrayFromImage(label()))


@pytest.mark.parametrize("source", ["decathlon", "nnunet_v1"])
def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, source: str) -> None:
    folder = make_v1(tmp_path / "Task01", source == "decathlon")
    (folder / "labelsTr" / "BRATS_002.nii.gz").unlink()
    with pytest.raises(DatasetError, match="BRATS_002"):
        CONVERTERS[source](Conversion(source=folder, target=tmp_path / "Dataset001_BRATS"))
    assert [path.name for path in tmp_path.iterdir()] == ["Task01"]


def test_a_damaged_image_of_several_channels_is_named(tmp_path: Path) -> None:
    folder = make_v1(tmp_path / "Task01", decathlon=True)
    path = folder / "imagesTr" / "BRATS_001.nii.gz"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DatasetError, match=r"BRATS_001\.nii\.gz"):
        CONVERTERS["decathlon"](Conversion(source=folder, target=tmp_path / "Dataset001_BRATS"))
    assert not (tmp_path / "Dataset001_BRATS").exists()


def test_another_number_of_channels_than_stated_is_named(tmp_path: Path) -> None:
    folder = make_v1(tmp_path / "Task01", decathlon=True)
    with pytest.raises(DatasetError, match="2 channel"):
        CONVERTERS["decathlon"](
            Conversion(source=folder, target=tmp_path / "Dataset001_X", channel_names=("a", "b", "c"))
        )


def test_a_folder_in_todays_format_is_told_so(tmp_path: Path) -> None:
    folder = make_v1(tmp_path / "Task01", decathlon=False)
    content = json.loads((folder / "dataset.json").read_text()) | {"labels": {"background": 0, "edema": 1}}
    (folder / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="v2's format already"):
        CONVERTERS["nnunet_v1"](Conversion(source=folder, target=tmp_path / "Dataset001_X"))


def write_listed_cases(source: Path, places: list[tuple[str, str]]) -> None:
    """A Decathlon folder whose dataset.json lists these images and labels, each with a value of its own."""
    geometry = Geometry(dimension=3, shape_zyx=(2, 3, 4), spacing_mm=(1.0, 1.0, 1.0))
    for number, (image, label) in enumerate(places):
        (source / image).parent.mkdir(parents=True, exist_ok=True)
        write_image(source / image, Image(np.full((1, 2, 3, 4), number, np.int16), geometry))
        write_image(source / label, Image(np.full((1, 2, 3, 4), 1, np.uint8), geometry))
    listed = [{"image": image, "label": label} for image, label in places]
    labels = {"0": "background", "1": "a"}
    content = {"modality": {"0": "MRI"}, "labels": labels, "training": listed, "test": []}
    (source / "dataset.json").write_text(json.dumps(content))


def test_files_of_one_name_in_several_folders_are_several_cases(tmp_path: Path) -> None:
    source, target = tmp_path / "Task01_List", tmp_path / "Dataset001_List"
    places = [(f"patient_{n}/image.nii.gz", f"patient_{n}/label.nii.gz") for n in range(3)]
    write_listed_cases(source, places)
    assert main(["convert", str(source), str(target), "--from", "decathlon"]) == 0
    found = {
        path.name: int(read_image([path]).data.max()) for path in sorted((target / "imagesTr").iterdir())
    }
    assert found == {f"patient_{n}_image_0000.nii.gz": n for n in range(3)}
    assert len(list((target / "labelsTr").iterdir())) == 3


def test_entries_that_would_vanish_under_one_name_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "Task01_List", tmp_path / "Dataset001_List"
    places = [(f"{site}/p/image.nii.gz", f"{site}/p/label.nii.gz") for site in ("a", "b")]
    write_listed_cases(source, places)
    assert main(["convert", str(source), str(target), "--from", "decathlon"]) == 2
    assert "p_image" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("lead", ["../private/", "imagesTr/../../private/", "{folder}/private/"])
def test_files_outside_the_folder_are_not_taken_by_the_name_that_its_json_has_for_them(
    tmp_path: Path, lead: str
) -> None:
    source = make_v1(tmp_path / "Task01_X", decathlon=True)
    (tmp_path / "private").mkdir()
    (source / "imagesTr" / "BRATS_003.nii.gz").rename(tmp_path / "private" / "BRATS_003.nii.gz")
    content = json.loads((source / "dataset.json").read_text())
    content["training"][3]["image"] = lead.format(folder=tmp_path) + "BRATS_003.nii.gz"
    (source / "dataset.json").write_text(json.dumps(content))
    target = tmp_path / "raw" / "Dataset001_X"
    with pytest.raises(DatasetError, match="inside Task01_X"):
        CONVERTERS["decathlon"](Conversion(source=source, target=target))
    assert not target.exists()


def test_files_of_a_v1_folder_that_belong_to_no_case_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_v1(tmp_path / "Task01", decathlon=False, channels=1)
    odd = ("imagesTr/unnumbered.nii.gz", "labelsTr/lone.nii.gz", "imagesTs/other.nii.gz")
    for name in odd:
        sitk.WriteImage(label(), str(folder / name))
    with caplog.at_level("WARNING"):
        converted = CONVERTERS["nnunet_v1"](Conversion(source=folder, target=tmp_path / "Dataset001_BRATS"))
    assert (converted.training_cases, converted.test_cases) == (CASES, 1)
    assert all(Path(name).name in caplog.text for name in odd)
    assert "BRATS_" not in caplog.text


def test_test_images_of_a_v1_folder_are_taken_whatever_their_ending(tmp_path: Path) -> None:
    folder = make_v1(tmp_path / "Task01", decathlon=False, channels=1)
    compressed = folder / "imagesTs" / "BRATS_900_0000.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(compressed)), str(compressed.with_suffix("")))
    compressed.unlink()
    converted = CONVERTERS["nnunet_v1"](Conversion(source=folder, target=tmp_path / "Dataset001_BRATS"))
    assert converted.test_cases == 1


@pytest.mark.parametrize("name", ["overview.png", "unnumbered.nii.gz", "notes.txt"])
def test_a_v1_folder_whose_imagests_holds_no_case_has_no_test_images(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_v1(tmp_path / "Task01", decathlon=False, channels=1)
    for path in (folder / "imagesTs").iterdir():
        path.unlink()
    (folder / "imagesTs" / name).write_bytes(b"no case")
    converted = CONVERTERS["nnunet_v1"](Conversion(source=folder, target=tmp_path / "Dataset001_BRATS"))
    assert (converted.training_cases, converted.test_cases) == (CASES, 0)
    assert name in caplog.text
