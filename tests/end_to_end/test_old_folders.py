"""What was planned and trained before the modules were renamed still works: training on, prediction, scores.

The folder and what the earlier version made of it are described in tests/data/trained_0_1/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
import SimpleITK as sitk
from support.old_folders import restore

from balrsam_pipeline.cli import main
from balrsam_pipeline.plan import read_fingerprint, read_plan
from evaluation import read_summary

NAME = "Dataset999_Demo"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return restore("trained_0_1", tmp_path_factory.mktemp("old") / "folder")


@pytest.fixture(scope="module")
def expected(old: Path) -> dict[str, float]:
    scores: dict[str, float] = json.loads((old / "expected" / "scores.json").read_text())
    return scores


@pytest.fixture(scope="module")
def predicted(old: Path) -> Path:
    images, output = old / "raw" / NAME / "imagesTs", old / "predicted"
    command = ["predict", "-i", images, "-o", output, "-d", NAME, "--configuration", "2d", "--folds", "0"]
    assert _balrsam(*command, "--device", "cpu", *_roots(old)) == 0
    return output


def _balrsam(*words: object) -> int:
    return main([str(word) for word in words])


def _roots(old: Path) -> list[object]:
    return [word for root in ("raw", "preprocessed", "results") for word in (f"--{root}", old / root)]


def _model(old: Path) -> Path:
    return old / "results" / NAME / "2d__balrsam"


def test_plan_and_fingerprint_are_read(old: Path) -> None:
    plan = read_plan(old / "preprocessed" / NAME / "plan.json")
    assert plan.configuration("2d").patch_size == (32, 32)
    assert read_plan(_model(old) / "plan.json") == plan
    assert len(read_fingerprint(old / "preprocessed" / NAME / "fingerprint.json").cases) == 5


def test_the_plan_is_described(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _balrsam("describe", NAME, *_roots(old)) == 0
    assert "32 × 32" in capsys.readouterr().out


def test_a_finished_fold_is_not_trained_again(old: Path) -> None:
    final = _model(old) / "fold_0" / "checkpoint_final.safetensors"
    before = final.stat().st_mtime_ns
    assert _train(old, 0) == 0
    assert final.stat().st_mtime_ns == before
    assert not final.with_name("checkpoint_latest.safetensors").exists()


def test_an_interrupted_fold_trains_on_to_the_loss_that_the_old_version_had(
    old: Path, expected: dict[str, float]
) -> None:
    assert _train(old, 1) == 0
    fold = _model(old) / "fold_1"
    epochs = [json.loads(line) for line in (fold / "log.jsonl").read_text().splitlines()]
    losses = {event["epoch"]: event["loss"] for event in epochs if event["event"] == "epoch"}
    assert sorted(losses) == [1, 2]
    assert losses[2] == pytest.approx(expected["loss_of_epoch_2"], rel=0.01)
    assert [start["step"] for start in _json(fold / "run.json")["starts"]] == [0, 2]
    assert (fold / "validation" / "summary.json").is_file()


def test_the_prediction_is_the_old_versions(old: Path, predicted: Path) -> None:
    before, now = (
        sitk.ReadImage(str(folder / "demo_005.nii.gz")) for folder in (old / "expected", predicted)
    )
    assert now.GetSpacing() == before.GetSpacing()
    before_zyx, now_zyx = sitk.GetArrayFromImage(before), sitk.GetArrayFromImage(now)
    assert len(set(before_zyx.ravel())) > 1
    assert (now_zyx == before_zyx).mean() > 0.98  # processors differ in how they add up


def test_the_prediction_scores_as_with_the_old_version(old: Path, expected: dict[str, float]) -> None:
    raw = old / "raw" / NAME
    command = ["evaluate", old / "expected", raw / "labelsTs", "--labels", raw / "dataset.json"]
    assert _balrsam(*command, "--output", old / "scored", "--workers", "1") == 0
    organ = read_summary(old / "scored" / "summary.json").per_label["organ"]
    assert organ["dice"].mean == pytest.approx(expected["dice_of_organ"], abs=1e-4)
    assert organ["hd95"].mean == pytest.approx(expected["hd95_of_organ_mm"], abs=1e-3)


def test_an_old_summary_is_read(old: Path) -> None:
    summary = read_summary(_model(old) / "fold_0" / "validation" / "summary.json")
    assert set(summary.per_label) == {"organ", "core"}


def test_planning_again_makes_the_old_preprocessed_cases_anew_with_the_same_voxels(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Version 0.1 stored half-precision images and cropped labels wrong; sound cases stay as they were."""
    stores = sorted((old / "preprocessed" / NAME / "2d").glob("*.b2nd"))
    before = {store: blosc2.open(str(store))[:] for store in stores}
    command = ["plan_and_preprocess", NAME, "--configurations", "2d", "--like", _model(old) / "plan.json"]
    roots = ["--raw", old / "raw", "--preprocessed", old / "preprocessed"]
    assert _balrsam(*command, *roots, "--workers", "1") == 0
    assert "5 cases preprocessed" in capsys.readouterr().out
    for store in stores:
        np.testing.assert_allclose(blosc2.open(str(store))[:], before[store], atol=1e-5)


def _train(old: Path, fold: int) -> int:
    settings = ["--epochs", 2, "--settings", old / "settings.json", "--device", "cpu", "--workers", 0]
    return _balrsam("train", NAME, "--configuration", "2d", "--fold", fold, *settings, *_roots(old))


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
