"""From `.npz` files as the CVPR challenges hand them out to a raw dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.imageio import read_geometry, read_image, read_label

RNG = np.random.default_rng(0)
VOXELS = RNG.integers(0, 255, (3, 6, 5)).astype(np.uint8)
LABEL = np.arange(90).reshape(3, 6, 5) % 3


def save(folder: Path, name: str, **arrays: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays)


def convert(source: Path, target: Path, *words: str) -> int:
    return main(["convert", str(source), str(target), "--from", "npz", "--workers", "1", *words])


def test_volumes_become_nifti_and_files_without_gts_test_images(tmp_path: Path) -> None:
    source, target = tmp_path / "npz", tmp_path / "Dataset050_Npz"
    for name in ("CT_a_0001", "CT_b_0002"):
        save(source, name, imgs=VOXELS, gts=LABEL, spacing=(0.7, 0.8, 2.5))
    save(source / "test", "CT_c_0003", imgs=VOXELS, spacing=(0.7, 0.8, 2.5))
    save(source, "CT_d_0004", imgs=VOXELS, spacing=(0.7, 0.8, 2.5))
    assert convert(source, target, "--channels", "CT", "--labels", "liver=1", "spleen=2") == 0
    assert sorted(path.name for path in (target / "imagesTs").iterdir()) == [
        "CT_c_0003_0000.nii.gz",
        "CT_d_0004_0000.nii.gz",
    ]
    image, label = (
        read_image([target / "imagesTr" / "CT_a_0001_0000.nii.gz"]),
        read_label(target / "labelsTr" / "CT_a_0001.nii.gz"),
    )
    np.testing.assert_array_equal(image.data[0], VOXELS)
    np.testing.assert_array_equal(label.data[0], LABEL)
    assert image.geometry.spacing_mm == pytest.approx((2.5, 0.8, 0.7)) and label.geometry == image.geometry
    content = json.loads((target / "dataset.json").read_text())
    assert content["labels"] == {"background": 0, "liver": 1, "spleen": 2}
    assert content["channel_names"] == {"0": "CT"} and content["file_ending"] == ".nii.gz"
    assert main(["verify", str(target), "--workers", "1"]) == 0


def test_files_of_other_formats_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, target = tmp_path / "npz", tmp_path / "Dataset050_Npz"
    for name in ("a", "b"):
        save(source / "images", name, imgs=VOXELS, gts=LABEL, spacing=(0.7, 0.8, 2.5))
    for name in ("c.nii.gz", ".DS_Store"):
        (source / "images" / name).write_bytes(b"")
    assert convert(source, target, "--channels", "CT", "--labels", "liver=1", "spleen=2") == 0
    assert "c.nii.gz" in caplog.text and "DS_Store" not in caplog.text


def test_pictures_become_png_with_masks_from_a_folder_of_their_own(tmp_path: Path) -> None:
    source, target = tmp_path / "npz", tmp_path / "Dataset051_Pictures"
    pixels, mask = RNG.integers(0, 255, (8, 9, 3)).astype(np.uint8), np.eye(8, 9, dtype=np.uint8)
    for name in ("a", "b"):
        save(source / "images", name, imgs=pixels)
        save(source / "masks", name, gts=mask * 255)
    assert convert(source, target, "--labels", "polyp=1", "--value-map", "255=1") == 0
    np.testing.assert_array_equal(
        np.moveaxis(read_image([target / "imagesTr" / "a_0000.png"]).data[:, 0], 0, -1), pixels
    )
    np.testing.assert_array_equal(read_label(target / "labelsTr" / "a.png").data[0, 0], mask)
    assert json.loads((target / "dataset.json").read_text())["channel_names"] == {
        "0": "R",
        "1": "G",
        "2": "B",
    }


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"imgs": VOXELS}, "no 'gts' in 1 files"),
        ({"imgs": VOXELS, "gts": LABEL[:2], "spacing": (1, 1, 1)}, "gts of (2, 6, 5) voxels"),
        ({"imgs": VOXELS, "gts": LABEL * 7, "spacing": (1, 1, 1)}, "without a label value"),
    ],
)
def test_what_does_not_fit_is_refused(
    arrays: dict[str, Any], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "npz", "a", **arrays)
    assert convert(tmp_path / "npz", tmp_path / "Dataset052_Wrong") == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "Dataset052_Wrong").exists()


def test_volumes_and_pictures_are_not_one_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "npz", "a", imgs=VOXELS, gts=LABEL, spacing=(1, 1, 1))
    save(tmp_path / "npz", "b", imgs=VOXELS[0], gts=LABEL[0])
    assert convert(tmp_path / "npz", tmp_path / "Dataset053_Mixed") == 2
    assert "1 pictures among volumes" in capsys.readouterr().err
    assert read_geometry(tmp_path / "npz" / "a.npz").dimension == 3


@pytest.mark.parametrize("second", ["test/t0.npz", "images/a.NPZ"])
def test_a_second_file_of_a_case_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], second: str
) -> None:
    source, target = tmp_path / "npz", tmp_path / "Dataset052_Twice"
    save(source / "images", "a", imgs=VOXELS, gts=LABEL)
    save(source / "images", "t0", imgs=VOXELS)
    save(source / "test", "t1", imgs=VOXELS)
    (source / second).write_bytes((source / "images" / f"{Path(second).stem}.npz").read_bytes())
    assert convert(source, target) == 2
    message = capsys.readouterr().err
    assert second in message and f"images/{Path(second).stem}.npz" in message and not target.exists()
