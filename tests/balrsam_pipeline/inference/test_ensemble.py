"""`balrsam ensemble` a second time into the same folder, and one that fails midway."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from balrsam_pipeline.cli import main
from balrsam_pipeline.execution import folder_lock
from balrsam_pipeline.imageio import Geometry, read_label, write_label
from balrsam_pipeline.inference import ensemble
from balrsam_pipeline.inference.ensemble import ensemble_folders
from balrsam_pipeline.inference.export import ImageGrid, chunk_spans
from balrsam_pipeline.inference.postprocessing import Postprocessing, PostprocessingStep, write_postprocessing
from balrsam_pipeline.inference.prediction_json import Manifest, write_manifest
from balrsam_pipeline.inference.probabilities import (
    ProbabilityFile,
    probability_path,
    writing_probabilities,
)
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


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_probabilities_are_averaged_slice_by_slice_as_they_lie_on_disk(
    fakes: SimpleNamespace,
    opened: list[SimpleNamespace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    axis: int,
) -> None:
    """Slices along another axis were each decompressed with all others."""
    geometry, labels = (
        Geometry(dimension=3, shape_zyx=(5, 6, 7), spacing_mm=(1.0,) * 3),
        fakes.plain_labels(2),
    )
    manifest = Manifest(
        members=(), mirror=True, tile_step=0.5, labels=labels, postprocessing=Postprocessing()
    )
    grid, weights = ImageGrid.whole(geometry.shape_zyx, axis), {tmp_path / "a": 1.0, tmp_path / "b": 3.0}
    mean = np.zeros((3, *geometry.shape_zyx), np.float32)
    for seed, (folder, weight) in enumerate(weights.items()):
        write_manifest(folder, manifest)
        values = np.random.default_rng(seed).random(mean.shape).astype(np.float16).astype(np.float32)
        mean += values * (weight / 4)
        write_label(folder / "c.nii.gz", np.zeros(geometry.shape_zyx, np.uint8), geometry)
        with writing_probabilities(probability_path(folder, "c"), grid, geometry, labels) as sink:
            slices = np.ascontiguousarray(grid.cropped_view(values))
            sink(0, slices.shape[1], torch.from_numpy(slices))
    monkeypatch.setattr(ensemble, "chunk_spans", partial(chunk_spans, chunk_bytes=1))
    out = tmp_path / "out"
    ensemble_folders(weights, out, Postprocessing(), save_probabilities=True)
    assert [file.read for file in opened] == [file.chunks for file in opened]
    assert len(opened) == 2 and opened[0].chunks == geometry.shape_zyx[axis]
    np.testing.assert_array_equal(read_label(out / "c.nii.gz").data[0], mean.argmax(0))
    saved = ProbabilityFile(probability_path(out, "c")).read(0, 5)
    np.testing.assert_array_equal(saved, mean.astype(np.float16))
