"""`predict -o MASK.tif`: what belongs to the one file goes with it, and nothing is left beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.imageio import Geometry, Image, read_geometry, write_image

Folders = Callable[..., Path]


@pytest.fixture
def words(model_folder: Folders, tmp_path: Path) -> list[str]:
    """The command that predicts a stack of TIFF whose voxels have a size."""
    grid = Geometry(dimension=3, shape_zyx=(4, 20, 18), spacing_mm=(1.5, 0.8, 0.9))
    data = np.random.default_rng(0).integers(0, 3, (1, 4, 20, 18)).astype(np.uint16)
    write_image(tmp_path / "images" / "a_0000.tif", Image(data, grid))
    words = ["predict", "-i", str(tmp_path / "images" / "a_0000.tif"), "--device", "cpu"]
    return [*words, "--model", str(model_folder(folds=(0,)))]


def test_the_spacing_of_a_stack_lies_beside_its_mask(words: list[str], tmp_path: Path) -> None:
    for name in ("mask.tif", "mask.nii.gz"):
        assert main([*words, "-o", str(tmp_path / name)]) == 0
        assert read_geometry(tmp_path / name).spacing_mm == pytest.approx((1.5, 0.8, 0.9))
    assert json.loads((tmp_path / "mask.json").read_text()) == {"spacing": [1.5, 0.8, 0.9]}


def test_a_file_where_the_spacing_goes_is_not_replaced(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "mask.json").write_text("mine")
    assert main([*words, "-o", str(tmp_path / "mask.tif")]) == 2
    assert (tmp_path / "mask.json").read_text() == "mine"
    assert not (tmp_path / "mask.tif").exists()


def test_what_a_killed_run_left_beside_the_file_goes_with_the_next(words: list[str], tmp_path: Path) -> None:
    output = tmp_path / "mask.nii.gz"
    code = (
        "import os, sys; from pathlib import Path\n"
        f"from {scratch_folder.__module__} import scratch_folder\n"
        "with scratch_folder(Path(sys.argv[1])): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(output)], check=False).returncode == 9
    assert len(list(tmp_path.glob(".tmp-*"))) == 1
    assert main([*words, "-o", str(output)]) == 0
    assert not list(tmp_path.glob(".tmp-*"))
