"""A model adapted from a file of the user's own goes its whole way: trained, predicting, shared, in a
container; and on no other base."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from support.runs import roots
from support.tiny_vit import random_tiny_sam

from balrsam_pipeline.cli import main
from balrsam_pipeline.demo import DemoSize, generate_dataset
from balrsam_pipeline.imageio import read_label
from balrsam_pipeline.layout import ModelFolder

ADAPTER_BYTES = 15e6
CASE = "demo_005"
DEVICE = ("--device", "cpu")


def balrsam(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a demo dataset, files in LiteMedSAM's form, and a fold trained on one for two steps."""
    folder = tmp_path_factory.mktemp("adapted")
    dataset = generate_dataset(
        folder / "raw", DemoSize(training_cases=5, test_cases=1, shape_zyx=(2, 32, 32))
    )
    torch.save(random_tiny_sam(4), folder / "mine.pth")
    torch.save(random_tiny_sam(4, seed=1), folder / "other.pth")
    (folder / "settings.json").write_text(json.dumps({"steps_per_epoch": 2, "quick_validation_patches": 1}))
    planning = ("--backbone", "vit_t", "--configurations", "2d", "--workers", "1")
    assert balrsam("plan_and_preprocess", dataset, *planning, *roots(folder)[:2]) == 0
    training = ("--fold", 0, "--epochs", 1, "--settings", folder / "settings.json", *DEVICE)
    base = ("--checkpoint", folder / "mine.pth")
    assert balrsam("train", dataset, *training, *base, *roots(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def model(trained: Path) -> Path:
    return next((trained / "results").glob("*/2d__balrsam"))


@pytest.fixture(scope="module")
def prediction(trained: Path, model: Path) -> np.ndarray:
    """The label map that the model gives where it was trained."""
    return predicted(trained, model, trained / "predicted")


def predicted(trained: Path, model: Path, output: Path, *words: object) -> np.ndarray:
    images = next((trained / "raw").glob("*/imagesTs"))
    assert balrsam("predict", "-i", images, "-o", output, "--model", model, *DEVICE, *words) == 0
    return np.asarray(read_label(output / f"{CASE}.nii.gz").data)


def test_the_adapter_is_small_beside_its_base(trained: Path, model: Path) -> None:
    adapter = ModelFolder(model).fold(0).checkpoint("final")
    assert adapter.stat().st_size < ADAPTER_BYTES < (trained / "mine.pth").stat().st_size


def test_an_installed_copy_predicts_the_same_wherever_its_base_lies(
    trained: Path, model: Path, prediction: np.ndarray
) -> None:
    assert balrsam("export_model", "--model", model, "-o", trained / "shared.zip") == 0
    assert balrsam("install_model", trained / "shared.zip", "--results", trained / "elsewhere") == 0
    installed = next((trained / "elsewhere").glob("*/2d__balrsam"))
    moved = (trained / "mine.pth").rename(trained / "moved.pth")
    try:
        found = predicted(trained, installed, trained / "there", "--base", moved)
    finally:
        moved.rename(trained / "mine.pth")
    np.testing.assert_array_equal(found, prediction)


def test_another_base_is_refused(trained: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = next((trained / "raw").glob("*/imagesTs"))
    words = ("-i", images, "-o", trained / "refused", "--model", model, "--base", trained / "other.pth")
    assert balrsam("predict", *words, *DEVICE) != 0
    assert "sha256" in capsys.readouterr().err.lower()
    assert not list((trained / "refused").glob("*.nii.gz"))


def test_a_container_brings_the_base_along(trained: Path, model: Path, prediction: np.ndarray) -> None:
    container, source = trained / "container", trained / "in" / "images"
    slugs = ("--input-slugs", "first", "second", "--output-slug", "organs")
    words = ("--format", "grand-challenge", "--container", "--model", model, "-o", container)
    assert balrsam("submit", *words, *slugs) == 0
    images = next((trained / "raw").glob("*/imagesTs"))
    for channel, slug in enumerate(slugs[1:3]):
        (source / slug).mkdir(parents=True)
        (source / slug / f"{CASE}.nii.gz").symlink_to(images / f"{CASE}_{channel:04d}.nii.gz")
    sockets = [{"slug": slug, "relative_path": f"images/{slug}"} for slug in slugs[1:3]]
    (trained / "in" / "inputs.json").write_text(json.dumps([{"interface": socket} for socket in sockets]))
    moved = (trained / "mine.pth").rename(trained / "moved.pth")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("balrsam_")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inference", "--input", trained / "in", "--output", trained / "out"],
            cwd=container / "code",
            env=environment | {"CUDA_VISIBLE_DEVICES": ""},
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        moved.rename(trained / "mine.pth")
    assert done.returncode == 0, done.stdout + done.stderr
    found = np.asarray(read_label(trained / "out" / "images" / "organs" / "output.mha").data)
    np.testing.assert_array_equal(found, prediction)
