"""Mistakes that would score are told loudly, and the command does not end as if all were well."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from balrsam_pipeline.cli import main

Folders = tuple[Path, Path]


@pytest.fixture
def masks(tmp_path: Path) -> Folders:
    """Predictions and references of four pictures, with labels 1 and 2."""
    folders = tmp_path / "predictions", tmp_path / "references"
    for shift, folder in enumerate(folders):
        folder.mkdir()
        for case in range(4):
            mask = np.zeros((20, 20), np.uint8)
            mask[4 + shift : 12, 4:12], mask[8:11, 8:11] = 1, 2
            Image.fromarray(mask).save(folder / f"case_{case}.png")
    return folders


def score(masks: Folders, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["evaluate", *map(str, masks), "--workers", "1", *words])
    return code, capsys.readouterr().err


def change(folder: Path, values: dict[int, int]) -> None:
    for path in folder.glob("*.png"):
        mask = np.asarray(Image.open(path))
        Image.fromarray(np.vectorize(lambda value: values.get(value, value))(mask).astype(np.uint8)).save(
            path
        )


def test_sound_masks_raise_no_doubt(masks: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    code, told = score(masks, capsys)
    assert code == 0 and "MEAN NOTHING" not in told


@pytest.mark.parametrize("side", [0, 1])
def test_masks_of_0_and_255_against_masks_of_0_and_1(
    side: int, masks: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    change(masks[0], {2: 1})
    change(masks[1], {2: 1})
    change(masks[side], {1: 255})
    code, told = score(masks, capsys)
    assert code == 1 and "MEAN NOTHING" in told and "255" in told and "value-map" in told
    summary = json.loads((masks[0] / "evaluation" / "summary.json").read_text())
    assert any("nothing can match" in warning for warning in summary["balrsam"]["warnings"])


def test_values_that_the_dataset_does_not_know(
    masks: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in masks:
        change(folder, {1: 7, 2: 8})
    description = {
        "channel_names": {"0": "x"},
        "labels": {"background": 0, "organ": 1},
        "file_ending": ".png",
    }
    (tmp_path / "dataset.json").write_text(json.dumps({**description, "numTraining": 4}))
    code, told = score(masks, capsys, "--labels", str(tmp_path / "dataset.json"))
    assert code == 1 and "7, 8" in told and "--labels" in told


def test_listed_labels_that_no_case_shares_are_a_bad_model_and_no_mistake(
    masks: Folders, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(masks[0], {2: 1})
    change(masks[1], {1: 2})
    labels = {"background": 0, "organ": 1, "core": 2}
    description = {"channel_names": {"0": "x"}, "labels": labels, "file_ending": ".png", "numTraining": 4}
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    code, _ = score(masks, capsys, "--labels", str(tmp_path / "dataset.json"))
    assert code == 0


def test_swapped_folders(masks: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    (masks[0] / "prediction.json").write_text("{}")
    assert score(masks, capsys)[0] == 0
    code, told = score((masks[1], masks[0]), capsys)
    assert code == 1 and "swapped" in told


def test_a_jpeg_among_label_maps(masks: Folders, capsys: pytest.CaptureFixture[str]) -> None:
    path = masks[0] / "case_0.png"
    Image.open(path).save(path.with_suffix(".jpg"), quality=100)
    path.unlink()
    code, told = score(masks, capsys)
    assert code in (1, 2) and "JPEG" in told


def test_doubts_are_told_where_a_case_is_damaged_too(
    masks: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    change(masks[0], {1: 255, 2: 255})
    (masks[0] / "case_1.png").write_bytes(b"half a file")
    code, message = score(masks, capsys)
    assert code == 1 and "MEAN NOTHING" in message and "case_1" in message
