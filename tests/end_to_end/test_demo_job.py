"""The main job on a small generated dataset, through the real commands: two configurations, two folds,
ensemble, scores."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from support.runs import Balrsam, roots, stray_files

from balrsam_pipeline.demo import DemoSize, generate_dataset

WORDS = ("--configurations", "2d", "2.5d", "--folds", "0", "1", "--max-minutes", "0.02", "--device", "cpu")


@pytest.fixture(scope="module")
def job(
    tmp_path_factory: pytest.TempPathFactory, balrsam: Balrsam
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo")
    generate_dataset(folder / "raw", DemoSize(training_cases=6, test_cases=2, shape_zyx=(10, 48, 40)))
    return folder, balrsam("run", "999", *roots(folder), *WORDS)


def test_the_job_ends_with_where_everything_lies(job: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = job
    listed = [line for line in done.stdout.splitlines() if str(folder) in line and line.startswith("  ")]
    assert len(listed) >= 6
    assert stray_files(folder) == []


def test_predictions_have_the_geometry_of_the_images(
    job: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = job
    images = sorted((folder / "raw" / "Dataset999_Demo" / "imagesTs").glob("*_0000.nii.gz"))
    for path in images:
        image = sitk.ReadImage(str(path))
        prediction = sitk.ReadImage(
            str(folder / "results/Dataset999_Demo/predictions" / path.name.replace("_0000", ""))
        )
        assert prediction.GetSize() == image.GetSize()
        assert prediction.GetSpacing() == image.GetSpacing()
        assert prediction.GetOrigin() == image.GetOrigin()
        assert prediction.GetDirection() == image.GetDirection()
        assert set(np.unique(sitk.GetArrayFromImage(prediction))) <= {0, 1, 2}
    assert len(images) == 2


def test_reported_dice_is_that_of_the_files_on_disk(
    job: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """The whole chain is checked against three lines of NumPy."""
    folder, _ = job
    predictions = folder / "results" / "Dataset999_Demo" / "predictions"
    scores = pd.read_csv(predictions / "evaluation" / "per_case.csv")
    for row in scores.itertuples():
        value = {"organ": 1, "core": 2}[row.label]
        prediction = sitk.GetArrayFromImage(sitk.ReadImage(str(predictions / f"{row.case}.nii.gz"))) == value
        reference = folder / "raw" / "Dataset999_Demo" / "labelsTs" / f"{row.case}.nii.gz"
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(reference))) == value
        expected = 2 * (prediction & truth).sum() / (prediction.sum() + truth.sum())
        assert row.dice == pytest.approx(expected, abs=1e-6)
    assert len(scores) == 4


def test_every_fold_is_validated_and_pooled(job: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = job
    splits = json.loads((folder / "preprocessed" / "Dataset999_Demo" / "splits.json").read_text())
    for name in ("2d", "2.5d"):
        model = folder / "results" / "Dataset999_Demo" / f"{name}__balrsam"
        for fold in (0, 1):
            validated = {
                path.name.removesuffix(".nii.gz")
                for path in (model / f"fold_{fold}" / "validation").glob("*.nii.gz")
            }
            assert validated == set(splits[fold]["val"])
            assert (model / f"fold_{fold}" / "progress.png").stat().st_size > 1000
        pooled = json.loads((model / "crossval" / "summary.json").read_text())
        assert 0.0 <= pooled["foreground_mean"]["Dice"] <= 1.0


def test_running_it_again_trains_nothing(
    job: tuple[Path, subprocess.CompletedProcess[str]], balrsam: Balrsam
) -> None:
    folder, _ = job
    checkpoints = sorted((folder / "results").rglob("checkpoint_final.safetensors"))
    before = [(path, path.stat().st_mtime_ns) for path in checkpoints]
    again = balrsam("run", "999", *roots(folder), *WORDS)
    assert len(before) == 4
    assert [(path, path.stat().st_mtime_ns) for path in checkpoints] == before
    assert "already done" in again.stdout
