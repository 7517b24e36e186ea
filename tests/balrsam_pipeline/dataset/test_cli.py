"""`balrsam convert` makes a dataset that `verify` accepts, and says what is wrong with a command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from balrsam_pipeline.cli import main
from balrsam_pipeline.dataset import check_dataset, open_dataset
from balrsam_pipeline.dataset.cli import SOURCES
from balrsam_pipeline.dataset.converters import CONVERTERS


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for index in range(3):
        for folder, voxels in (("photos", np.full((8, 9, 3), 10 * index + 1)), ("masks", np.eye(8, 9) * 255)):
            (tmp_path / "polyps" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(voxels.astype(np.uint8)).save(tmp_path / "polyps" / folder / f"{index}.png")
    return tmp_path / "polyps"


def test_pairs_become_a_dataset_in_the_raw_folder(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--from",
        "pairs",
        "--images",
        "photos",
        "--labels",
        "polyp=1",
        "--raw",
        str(tmp_path / "raw"),
        "--workers",
        "1",
    ]
    assert main(["convert", str(pictures), "Dataset030_Polyps", *options]) == 0
    folder = tmp_path / "raw" / "Dataset030_Polyps"
    assert open_dataset(folder).description.labels.names == ("polyp",)
    assert check_dataset(folder).errors == ()
    assert "3 training and 0 test cases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "options", "complaint"),
    [
        ("Polyps", [], "Dataset007_Pancreas"),
        ("Dataset030_Polyps", ["--labels", "polyp"], "NAME=VALUE"),
        ("Dataset030_Polyps", ["--labels", "polyp=²"], "NAME=VALUE"),
        ("Dataset030_Polyps", ["--value-map", "white"], "COLOUR=VALUE"),
        ("Dataset030_Polyps", ["--images", "nowhere"], "no such folder"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_its_fix(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    target: str,
    options: list[str],
    complaint: str,
) -> None:
    assert (
        main(["convert", str(pictures), target, "--from", "pairs", "--raw", str(tmp_path / "raw"), *options])
        == 2
    )
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "raw").exists() or list((tmp_path / "raw").iterdir()) == []


def test_every_converter_is_offered() -> None:
    assert set(SOURCES) == set(CONVERTERS)
