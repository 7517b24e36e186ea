"""The Python examples of the guides run as they stand, as scripts without `if __name__ == "__main__"`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.old_folders import restore

from balrsam_pipeline.imageio import Geometry, Image, write_image
from balrsam_pipeline.network import find_checkpoint

ROOT = Path(__file__).parents[2]


def example(page: str) -> str:
    """All Python of a page, one block after the other."""
    return "\n".join(
        re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that the examples name: a raw dataset, predictions, a trained model, a scan."""
    old = restore("trained_0_1", tmp_path_factory.mktemp("old") / "folder")
    made = tmp_path_factory.mktemp("examples")
    raw = made / "raw" / "Dataset004_Hippocampus"
    shutil.copytree(old / "raw" / "Dataset999_Demo", raw)
    shutil.copytree(old / "results" / "Dataset999_Demo", made / "results" / "Dataset004_Hippocampus")
    for name in ("predictions", "labelsTr"):
        shutil.copytree(raw / "labelsTr", made / name)
    shutil.copy(raw / "dataset.json", made)
    geometry = Geometry(dimension=3, shape_zyx=(3, 32, 32), spacing_mm=(3.0, 1.0, 1.0))
    scan = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    for channel in ("0000", "0001"):
        write_image(made / f"scan_{channel}.nii.gz", Image(scan, geometry))
    return made


@pytest.mark.parametrize("page", ["evaluation.md", "datasets.md", "network.md", "prediction.md"])
def test_the_examples_of_a_page_run_as_a_script(page: str, folder: Path) -> None:
    if page == "network.md" and find_checkpoint("vit_t") is None:
        pytest.skip("no checkpoint of vit_t here (make test installs one)")
    script = folder / page.replace(".md", "_example.py")
    script.write_text(example(page), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "bootstrapping phase" not in done.stderr


def test_every_page_with_python_is_run() -> None:
    with_python = {
        path.name for path in (ROOT / "docs").rglob("*.md") if "```python" in path.read_text("utf-8")
    }
    elsewhere = {"extending.md"}  # a package of its own: tests/trainers/test_extending.py trains with it
    assert with_python == {"evaluation.md", "datasets.md", "network.md", "prediction.md"} | elsewhere
