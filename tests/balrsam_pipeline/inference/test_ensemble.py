"""`balrsam ensemble` a second time into the same folder, and one that fails midway."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.execution import folder_lock
from balrsam_pipeline.imageio import read_label
from balrsam_pipeline.inference.postprocessing import Postprocessing, PostprocessingStep, write_postprocessing
from balrsam_pipeline.outdated import STALE_NS

Folders = Callable[..., Path]


@pytest.fixture
def two(image_folder: Folders, model_folder: Folders, tmp_path: Path) -> list[str]:
    """Two folders of the same cases, predicted with probabilities."""
    images = image_folder(2)
    for name in ("2d", "2.5d"):
        words = ["-o", str(tmp_path / name), "--model", str(model_folder(name, (0,))), "--device", "cpu"]
        assert main(["predict", "-i", str(images), "--save-probabilities", *words]) == 0
    return [str(tmp_path / name) for name in ("2d", "2.5d")]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("case*")}


def test_probabilities_of_an_earlier_ensemble_go(two: list[str], tmp_path: Path) -> None:
    words = ["ensemble", "-i", *two, "-o", str(tmp_path / "out")]
    assert main([*words, "--save-probabilities"]) == 0
    assert main([*words, "--weights", "3", "1"]) == 0
    assert names(tmp_path / "out") == {"case0.nii.gz", "case1.nii.gz"}


def test_the_labels_lie_beside_an_ensemble_so_that_it_can_be_submitted(
    two: list[str], tmp_path: Path
) -> None:
    out, archive = tmp_path / "out", tmp_path / "sent.zip"
    assert main(["ensemble", "-i", *two, "-o", str(out)]) == 0
    assert (out / "dataset.json").read_bytes() == (Path(two[0]) / "dataset.json").read_bytes()
    images = next(path for path in tmp_path.rglob("case0_0000.nii.gz")).parent
    assert (
        main(["submit", "--format", "plain", "-p", str(out), "--images", str(images), "-o", str(archive)])
        == 0
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "dataset.json").write_text("somebody's")
    assert main(["ensemble", "-i", *two, "-o", str(tmp_path / "other")]) == 2
    assert (tmp_path / "other" / "dataset.json").read_text() == "somebody's"


def test_the_labels_of_an_earlier_ensemble_do_not_stay_beside_another(two: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["ensemble", "-i", *two, "-o", str(out)]) == 0
    for folder in two:
        (Path(folder) / "dataset.json").unlink()
    assert main(["ensemble", "-i", *two, "-o", str(out)]) == 0
    assert not (out / "dataset.json").exists() and (out / "case0.nii.gz").is_file()


def test_a_failure_midway_leaves_no_mixture_and_the_other_cases_are_averaged(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ensemble", "-i", *two, "-o", str(tmp_path / "out"), "--workers", "1"]
    assert main(words) == 0
    before = (tmp_path / "out" / "case0.nii.gz").read_bytes()
    (tmp_path / "2d" / "case0_probabilities.b2nd").write_bytes(b"damaged")
    assert main([*words, "--weights", "3", "1"]) == 1
    assert "case0_probabilities.b2nd" in capsys.readouterr().err
    assert names(tmp_path / "out") == {"case1.nii.gz"}
    assert (tmp_path / "out" / "outdated" / "case0.nii.gz").read_bytes() == before


def test_what_failed_twice_is_set_aside_twice(two: list[str], tmp_path: Path) -> None:
    words = ["ensemble", "-i", *two, "-o", str(tmp_path / "out"), "--workers", "1"]
    probabilities = tmp_path / "2d" / "case0_probabilities.b2nd"
    sound = probabilities.read_bytes()
    for weights in (("3", "1"), ("1", "3")):
        probabilities.write_bytes(sound)
        assert main(words) == 0
        probabilities.write_bytes(b"damaged")
        assert main([*words, "--weights", *weights]) == 1
    assert {"case0.nii.gz", "2-case0.nii.gz"} <= names_of_all(tmp_path / "out" / "outdated")


def names_of_all(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["case1_probabilities.b2nd", "case1.nii.gz"])
@pytest.mark.parametrize("folder", ["2d", "2.5d"])
def test_predictions_of_an_earlier_run_are_not_averaged(
    two: list[str], tmp_path: Path, name: str, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(tmp_path / folder / name, ns=(STALE_NS, STALE_NS))
    assert main(["ensemble", "-i", *two, "-o", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "1 case of an earlier run, to be predicted again: case1" in said and "--continue" in said
    assert not names(tmp_path / "out")


def test_maps_of_other_models_do_not_stay_beside_an_ensemble_of_fewer_cases(
    two: list[str], tmp_path: Path
) -> None:
    words = ["ensemble", "-i", *two, "-o", str(tmp_path / "out")]
    assert main(words) == 0
    before = (tmp_path / "out" / "case1.nii.gz").read_bytes()
    for folder in two:
        for path in Path(folder).glob("case1*"):
            path.unlink()
    assert main([*words, "--weights", "3", "1"]) == 0
    assert names(tmp_path / "out") == {"case0.nii.gz"}
    assert (tmp_path / "out" / "outdated" / "case1.nii.gz").read_bytes() == before


def test_two_ensembles_at_once_in_one_folder_are_refused(
    two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with folder_lock(tmp_path / "out"):
        assert main(["ensemble", "-i", *two, "-o", str(tmp_path / "out")]) == 2
    assert "in use by another balrsam" in capsys.readouterr().err
    assert not names(tmp_path / "out")


def test_rules_of_other_labels_are_refused_before_anything_is_touched(two: list[str], tmp_path: Path) -> None:
    words = ["ensemble", "-i", *two, "-o", str(tmp_path / "out")]
    assert main(words) == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    rules = Postprocessing(steps=(PostprocessingStep(kind="largest_component", names=("liver",)),))
    write_postprocessing(tmp_path / "rules.json", rules)
    assert main([*words, "--postprocessing", str(tmp_path / "rules.json")]) == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before


def test_no_workers_are_refused(two: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ensemble", "-i", *two, "-o", str(tmp_path / "out"), "--workers", "0"]) == 2
    assert "--workers" in capsys.readouterr().err


@pytest.mark.parametrize("weight", ["nan", "inf", "0", "-1"])
def test_weights_are_positive_numbers(two: list[str], tmp_path: Path, weight: str) -> None:
    assert main(["ensemble", "-i", *two, "-o", str(tmp_path / "out"), "--weights", "1", weight]) == 2


def test_npz_files_are_averaged_as_the_same_voxels_in_nifti(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    arrays, images = tmp_path / "imgs", image_folder(1)
    arrays.mkdir()
    voxels = read_label(images / "case0_0000.nii.gz").data[0]
    np.savez_compressed(arrays / "case0.npz", imgs=voxels, spacing=(1.0, 1.0, 1.0))
    for kind, source in (("nifti", images), ("npz", arrays)):
        for name in ("2d", "2.5d"):
            model = tmp_path / "results" / "Dataset900_Test" / f"{name}__balrsam"
            words = ["-o", str(tmp_path / kind / name), "--device", "cpu", "--save-probabilities"]
            words += ["--model", str(model if model.is_dir() else model_folder(name, (0,)))]
            assert main(["predict", "-i", str(source), *words]) == 0
        both = [str(tmp_path / kind / name) for name in ("2d", "2.5d")]
        assert main(["ensemble", "-i", *both, "-o", str(tmp_path / kind / "mean")]) == 0
    with np.load(tmp_path / "npz" / "mean" / "case0.npz") as opened:
        expected = read_label(tmp_path / "nifti" / "mean" / "case0.nii.gz").data[0]
        np.testing.assert_array_equal(opened["segs"], expected)
