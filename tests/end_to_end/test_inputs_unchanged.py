"""Every command leaves its inputs as they were, byte for byte: where it may write to them, and where it may
not."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.imageio import Geometry, Image, write_image

CASES = 4


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder, and its hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_raw(folder: Path) -> None:
    """A small raw dataset with test images."""
    geometry = Geometry(dimension=3, shape_zyx=(4, 32, 32), spacing_mm=(3.0, 1.0, 1.0))
    generator = np.random.default_rng(0)
    for sub in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / sub).mkdir(parents=True)
    for number in range(CASES):
        label = np.zeros((1, 4, 32, 32), np.uint8)
        label[:, :, 8:20, 10 : 20 + number] = 1
        image = (generator.normal(100, 10, label.shape) + 60 * label).astype(np.int16)
        write_image(folder / f"imagesTr/c_{number}_0000.nii.gz", Image(image, geometry))
        write_image(folder / f"labelsTr/c_{number}.nii.gz", Image(label, geometry))
        write_image(folder / f"imagesTs/t_{number}_0000.nii.gz", Image(image, geometry))
    labels = {"background": 0, "a": 1}
    content = {
        "channel_names": {"0": "MRI"}, "labels": labels, "numTraining": CASES, "file_ending": ".nii.gz"
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(content))


def lock(folder: Path, locked: bool) -> None:
    """Take away, or give back, the right to write to a tree."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod((0o555 if path.is_dir() else 0o444) if locked else (0o755 if path.is_dir() else 0o644))


@pytest.mark.parametrize("read_only", [False, True], ids=["writable", "read-only"])
def test_no_command_changes_moves_or_deletes_an_input(tmp_path: Path, read_only: bool) -> None:
    raw, work = tmp_path / "in" / "Dataset001_Small", tmp_path / "out"
    make_raw(raw)
    roots = [
        "--raw",
        str(tmp_path / "in"),
        "--preprocessed",
        str(work / "pre"),
        "--results",
        str(work / "res"),
    ]
    model, cpu = work / "res" / "Dataset001_Small" / "2d__balrsam", ["--device", "cpu", "--workers", "1"]
    images, masks = str(raw / "imagesTs"), str(work / "masks")
    labels = [str(raw / "labelsTr"), "--workers", "1"]
    commands = [
        ["verify", str(raw), "--workers", "1"],
        ["plan_and_preprocess", "1", "--configurations", "2d", "--workers", "1", "--gpu-memory-gb", "0"],
        ["train", "1", "--epochs", "1", "--workers", "0", "--device", "cpu", "--max-minutes", "0.02"],
        ["predict", "-i", images, "-o", masks, "--model", str(model), "--save-probabilities", *cpu],
        ["predict", "-i", images, "-o", str(raw / "imagesTs"), "--model", str(model), *cpu],
        ["predict", "-i", images, "-o", str(raw), "--model", str(model), *cpu],
        ["predict", "-i", str(raw / "imagesTr"), "-o", str(work / "own"), "--model", str(model), *cpu],
        ["predict", "-i", str(raw / "imagesTr"), "-o", labels[0], "--model", str(model), *cpu],
        ["ensemble", "-i", masks, masks, "-o", str(work / "mean")],
        ["ensemble", "-i", masks, masks, "-o", masks],
        ["evaluate", str(work / "own"), *labels, "--output", str(work / "scores")],
        ["plot", str(work / "own"), "--images", str(raw / "imagesTr"), "-o", str(raw / "imagesTr")],
        ["plot", str(work / "own"), "--images", str(raw / "imagesTr"), "-o", str(work / "plots")],
        ["submit", "--format", "plain", "-p", masks, "--images", images, "-o", str(work / "s.zip")],
        ["export_model", "--model", str(model), "-o", str(work / "model.zip")],
        ["export_model", "--model", str(model), "-o", str(model / "plan.json")],
        ["install_model", str(work / "model.zip"), "--results", str(work / "elsewhere")],
    ]
    before, made = hashes(tmp_path / "in"), {}
    if read_only:
        lock(tmp_path / "in", True)
    try:
        for words in commands:
            with_roots = words[0] in ("plan_and_preprocess", "train")
            main([*words, *(roots if with_roots else [])])
            assert hashes(tmp_path / "in") == before, words
            kept = {name: value for name, value in hashes(model).items() if name in made} if made else {}
            assert kept == made, words  # a trained model and predictions are inputs of what comes after
            if words[0] == "train":
                made = hashes(model)
    finally:
        lock(tmp_path / "in", False)
    for path in ("masks/t_0.nii.gz", "own/c_0.nii.gz", "scores/summary.json", "s.zip", "model.zip"):
        assert (work / path).is_file(), path
    assert os.listdir(work / "elsewhere") == ["Dataset001_Small"]  # noqa: PTH208
