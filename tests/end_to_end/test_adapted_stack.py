"""The `3d` of an adapted model goes its whole way: planned, trained, predicting, described, shared."""

from __future__ import annotations

import json
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
from balrsam_pipeline.network.checkpoints import read_tensors

DEVICE = ("--device", "cpu")


def balrsam(*words: object) -> int:
    return main([str(word) for word in words])


def predicted(folder: Path, model: Path, output: Path) -> np.ndarray:
    images = next((folder / "raw").glob("*/imagesTs"))
    base = ("--base", folder / "mine.pth")
    assert balrsam("predict", "-i", images, "-o", output, "--model", model, *base, *DEVICE) == 0
    return np.asarray(read_label(next(output.glob("*.nii.gz"))).data)


@pytest.mark.slow
def test_stacks_of_slices_from_the_plan_to_a_shared_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = DemoSize(training_cases=5, test_cases=1, shape_zyx=(7, 24, 24))
    dataset = generate_dataset(tmp_path / "raw", size)
    torch.save(random_tiny_sam(4), tmp_path / "mine.pth")
    (tmp_path / "settings.json").write_text(json.dumps({"steps_per_epoch": 2, "quick_validation_patches": 1}))
    planning = ("--backbone", "vit_t", "--configurations", "3d", "--workers", "1")
    assert balrsam("plan_and_preprocess", dataset, *planning, *roots(tmp_path)[:2]) == 0
    training = ("--configuration", "3d", "--epochs", 1, "--settings", tmp_path / "settings.json", *DEVICE)
    base = ("--checkpoint", tmp_path / "mine.pth")
    assert balrsam("train", dataset, "--fold", 0, *training, *base, *roots(tmp_path)) == 0
    model = next((tmp_path / "results").glob("*/3d__balrsam"))
    assert (model / "fold_0" / "validation" / "summary.json").is_file()
    trained = read_tensors(ModelFolder(model).fold(0).checkpoint("final"))
    gates = [name for name in trained if name.endswith("across.gate")]
    assert len(gates) == 3 and all(trained[name].any() for name in gates)  # the decoder's attentions
    assert sum(".along." in name for name in trained) == 4  # two adapters in each of the last two blocks
    found = predicted(tmp_path, model, tmp_path / "predicted")
    reference = next((tmp_path / "raw").glob("*/labelsTs/*.nii.gz"))
    assert found.shape == read_label(reference).data.shape
    assert balrsam("export_model", "--model", model, "-o", tmp_path / "shared.zip") == 0
    assert balrsam("install_model", tmp_path / "shared.zip", "--results", tmp_path / "elsewhere") == 0
    installed = next((tmp_path / "elsewhere").glob("*/3d__balrsam"))
    np.testing.assert_array_equal(predicted(tmp_path, installed, tmp_path / "there"), found)
    capsys.readouterr()
    assert balrsam("describe", dataset, "--configuration", "3d", *roots(tmp_path)) == 0
    assert "Slices at once: 8 neighbouring slices" in " ".join(capsys.readouterr().out.split())
