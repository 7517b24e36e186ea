"""The fingerprint: nnU-Net's statistics, and only changed cases measured again."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.datasets import describe, volume_dataset, write_volume

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution import local_executor
from balrsam_pipeline.plan import json_sha256, read_fingerprint
from balrsam_pipeline.serialise import to_json
from planners.fingerprint import extract_fingerprint


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return volume_dataset(tmp_path / "raw" / "Dataset001_Small", cases=4)


def test_statistics_are_what_drawing_equally_from_every_case_tends_to(dataset: Path, tmp_path: Path) -> None:
    """nnU-Net draws as many foreground voxels of each case, with replacement."""
    found = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1).fingerprint.channel_statistics[0]
    generator = np.random.RandomState(1234)
    drawn = []
    for path in sorted((dataset / "labelsTr").iterdir()):
        image = sitk.GetArrayFromImage(
            sitk.ReadImage(str(dataset / "imagesTr" / path.name.replace(".nii", "_0000.nii")))
        )
        drawn.append(generator.choice(image[sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0], 200_000))
    values = np.concatenate(drawn).astype(float)
    expected = [
        values.mean(),
        values.std(),
        values.min(),
        values.max(),
        *np.percentile(values, (0.5, 50, 99.5)),
    ]
    own = [
        found.mean,
        found.std,
        found.min,
        found.max,
        found.percentile_00_5,
        found.median,
        found.percentile_99_5,
    ]
    np.testing.assert_allclose(own, expected, rtol=3e-3)


def test_any_number_of_workers_gives_the_same(dataset: Path, tmp_path: Path) -> None:
    alone = extract_fingerprint(open_dataset(dataset), tmp_path / "a", None, 1).fingerprint
    with local_executor(2) as executor:
        together = extract_fingerprint(open_dataset(dataset), tmp_path / "b", executor, 2).fingerprint
    assert to_json(alone) == to_json(together)


def test_only_the_changed_case_is_measured_again(dataset: Path, tmp_path: Path) -> None:
    first = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    assert extract_fingerprint(open_dataset(dataset), tmp_path, None, 1).measured == ()
    path = dataset / "imagesTr" / "case_02_0000.nii.gz"
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(image + 1, str(path))
    again = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    assert again.measured == ("case_02",)
    assert again.fingerprint.cases[1] == first.fingerprint.cases[1]
    fresh = extract_fingerprint(open_dataset(dataset), tmp_path / "fresh", None, 1)
    assert fresh.fingerprint == again.fingerprint


def test_a_new_date_on_the_same_content_changes_nothing(dataset: Path, tmp_path: Path) -> None:
    extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    os.utime(dataset / "imagesTr" / "case_02_0000.nii.gz", (1, 1))
    assert extract_fingerprint(open_dataset(dataset), tmp_path, None, 1).measured == ()


def test_other_labels_in_dataset_json_are_measured_again(dataset: Path, tmp_path: Path) -> None:
    extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    describe(dataset, {"background": 0, "whole": [1, 2], "core": 2}, ["T1"], 4, regions_class_order=[1, 2])
    again = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    assert len(again.measured) == 4
    assert set(again.fingerprint.cases[0].label_voxels) == {"whole", "core"}


@pytest.mark.parametrize(
    "name", ["fingerprint.json", "fingerprint_sources.json", "fingerprint_quantiles.npy"]
)
def test_damaged_leftovers_are_measured_again(dataset: Path, tmp_path: Path, name: str) -> None:
    first = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    (tmp_path / name).write_bytes(b"{ nonsense")
    os.utime(
        dataset / "imagesTr" / "case_02_0000.nii.gz", (1, 1)
    )  # with nothing changed, the quantiles are not even opened
    again = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    assert len(again.measured) == 4
    assert again.fingerprint == first.fingerprint


def test_intensities_that_the_disk_damaged_are_measured_again(dataset: Path, tmp_path: Path) -> None:
    first = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    path = tmp_path / "fingerprint_quantiles.npy"
    values = np.load(path)
    values[10:300] += 1  # as plausible as before
    np.save(path, values)
    image = dataset / "imagesTr" / "case_02_0000.nii.gz"
    sitk.WriteImage(sitk.ReadImage(str(image)) + 0, str(image))
    os.utime(image, (1, 1))
    again = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    assert len(again.measured) == 4
    assert again.fingerprint.channel_statistics == first.fingerprint.channel_statistics


def test_what_versions_without_a_checksum_measured_is_taken(dataset: Path, tmp_path: Path) -> None:
    first = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    sources = tmp_path / "fingerprint_sources.json"
    sources.write_text(json.dumps(json.loads(sources.read_text())["states"]))
    assert extract_fingerprint(open_dataset(dataset), tmp_path, None, 1).measured == ()
    os.utime(dataset / "imagesTr" / "case_02_0000.nii.gz", (1, 1))
    again = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    assert again.measured == ()
    assert again.fingerprint == first.fingerprint


def test_a_case_that_cannot_be_read_is_named_and_the_others_are_kept(dataset: Path, tmp_path: Path) -> None:
    path = dataset / "imagesTr" / "case_01_0000.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError, match="case_01"):
        extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)
    path.write_bytes(whole)
    assert extract_fingerprint(open_dataset(dataset), tmp_path, None, 1).measured == ("case_01",)


def test_ignored_voxels_and_missing_labels_are_not_measured(dataset: Path, tmp_path: Path) -> None:
    describe(dataset, {"background": 0, "organ": 1, "core": 2, "ignore": 3}, ["T1"], 4)
    label = np.zeros((10, 40, 36), dtype=np.uint8)
    label[2:4, 10:20, 10:20] = 1
    image = np.full(label.shape, 50, dtype=np.int16)
    write_volume(dataset / "labelsTr" / "case_00.nii.gz", label, (1.0, 1.0, 1.0))
    label[5:] = 3
    image[5:] = 30_000
    write_volume(dataset / "labelsTr" / "case_01.nii.gz", label, (1.0, 1.0, 1.0))
    write_volume(dataset / "imagesTr" / "case_01_0000.nii.gz", image, (1.0, 1.0, 1.0))
    found = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1).fingerprint
    assert found.channel_statistics[0].max < 1000
    assert found.cases[1].label_voxels == {"organ": 200, "core": 0}
    assert set(found.cases[1].label_thickness_px) == {"organ"}


def test_a_dataset_without_any_label_cannot_be_planned(dataset: Path, tmp_path: Path) -> None:
    for path in (dataset / "labelsTr").iterdir():
        write_volume(path, np.zeros((10, 40, 36), dtype=np.uint8), (1.0, 1.0, 1.0))
    with pytest.raises(DatasetError, match="no case shows any label"):
        extract_fingerprint(open_dataset(dataset), tmp_path, None, 1)


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int16, np.int64, np.float64])
def test_foreground_statistics_are_not_taken_in_the_type_of_the_input(dtype: type) -> None:
    from planners.case_fingerprint import _statistics

    values = np.sort(np.rint(np.random.default_rng(0).normal(160, 25, 5000)).clip(0, 255))
    found, expected = _statistics(values.astype(dtype), "a"), np.percentile(values, (0.5, 50, 99.5))
    assert (found.mean, found.std) == pytest.approx((values.mean(), values.std()))
    assert (found.percentile_00_5, found.median, found.percentile_99_5) == pytest.approx(tuple(expected))


def test_foreground_values_whose_squares_overflow_are_refused_by_case() -> None:
    from planners.case_fingerprint import _statistics

    with pytest.raises(DatasetError, match="case a"):
        _statistics(np.array([-1e300, 0.0, 1e300]), "a")


def test_the_hash_is_that_of_the_json_and_what_is_written_is_read(dataset: Path, tmp_path: Path) -> None:
    fingerprint = extract_fingerprint(open_dataset(dataset), tmp_path, None, 1).fingerprint
    assert fingerprint.sha256() == json_sha256(to_json(fingerprint, without_added_defaults=True))
    none = replace(fingerprint, cases=())
    assert none.sha256() == json_sha256(to_json(none))
    text = (tmp_path / "fingerprint.json").read_text()
    assert text == json.dumps(to_json(fingerprint), indent=2) + "\n"
    assert read_fingerprint(tmp_path / "fingerprint.json") == fingerprint


def test_background_between_cells_is_measured_where_they_fill_the_picture(tmp_path: Path) -> None:
    folder = tmp_path / "raw" / "Dataset002_Cells"
    walls = np.zeros((1, 60, 60), dtype=bool)
    walls[:, ::12] = walls[:, 1::12] = walls[:, 2::12] = True  # three pixels thick
    for index, label in enumerate((~walls, walls)):
        write_volume(folder / "labelsTr" / f"case_{index}.nii.gz", label.astype(np.uint8), (1.0, 1.0, 1.0))
        image = np.where(label, 100, 20).astype(np.int16)
        write_volume(folder / "imagesTr" / f"case_{index}_0000.nii.gz", image, (1.0, 1.0, 1.0))
    describe(folder, {"background": 0, "cell": 1}, ["EM"], 2)
    found = extract_fingerprint(open_dataset(folder), tmp_path, None, 1).fingerprint
    filled, empty = found.cases
    assert filled.label_thickness_px["background"] == pytest.approx(3, rel=0.3)
    assert set(empty.label_thickness_px) == {"cell"}


def test_what_an_earlier_version_measured_otherwise_is_measured_again(tmp_path: Path) -> None:
    """Single slices were cut into rows; the record of files alone would keep that for good."""
    folder = volume_dataset(tmp_path / "raw" / "Dataset003_Flat", 2, (1.0, 1.5, 1.5), shape=(1, 40, 36))
    dataset = open_dataset(folder)
    found = extract_fingerprint(dataset, tmp_path, None, 1).fingerprint
    former = tuple(replace(case, label_thickness_px={"organ": 2.0}, measured_by=1) for case in found.cases)
    (tmp_path / "fingerprint.json").write_text(
        json.dumps(to_json(replace(found, cases=former)), indent=2) + "\n"
    )
    again = extract_fingerprint(dataset, tmp_path, None, 1)
    assert again.fingerprint == found and len(again.measured) == 2
    assert not extract_fingerprint(dataset, tmp_path, None, 1).measured
