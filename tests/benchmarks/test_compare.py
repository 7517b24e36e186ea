"""The paired benchmark's own side: two configurations share the minutes, and the last row scores what was
chosen."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from balrsam_pipeline.demo import DemoSize, generate_dataset

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy" / "compare.py"


@pytest.mark.slow
def test_two_configurations_share_the_minutes_and_the_best_is_scored(tmp_path: Path) -> None:
    dataset = generate_dataset(
        tmp_path / "raw", DemoSize(training_cases=10, test_cases=0, shape_zyx=(6, 32, 32))
    )
    words = [
        dataset.name,
        "--minutes",
        "0.2",
        "--configurations",
        "2d",
        "2.5d",
        "--raw",
        str(tmp_path / "raw"),
        "--work",
        str(tmp_path),
    ]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()[2:]]
    assert [row[0] for row in rows[:2]] == ["balrsam 2d", "balrsam 2.5d"]
    assert all(0.1 <= float(row[1]) < 0.2 for row in rows[:2])
    name, minutes, _, dice, _ = rows[2]
    assert float(minutes) == 0.2
    folder = {"2d": "2d__balrsam", "2.5d": "2.5d__balrsam", "2d + 2.5d": "ensembles/2d__2.5d"}[
        name.removeprefix("balrsam, the best: ")
    ]
    predictions = tmp_path / "results" / dataset.name / folder / "fold_0"
    predictions = predictions if "ensembles" in folder else predictions / "validation"
    assert abs(float(dice) - _mean_dice(predictions, dataset / "labelsTr")) < 1e-4


def _mean_dice(predictions: Path, references: Path) -> float:
    """Dice of labels 1 and 2 of every prediction, by counting (none where neither shows it); the mean over
    cases, then over labels."""
    scores = []
    for path in predictions.glob("*.nii.gz"):
        predicted, reference = _voxels(path), _voxels(references / path.name)
        pairs = [(predicted == value, reference == value) for value in (1, 2)]
        scores.append(
            [2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else np.nan for a, b in pairs]
        )
    return float(np.nanmean(np.nanmean(scores, axis=0)))


def _voxels(path: Path) -> npt.NDArray[np.generic]:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
