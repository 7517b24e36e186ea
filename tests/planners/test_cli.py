"""The command `verify` as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.datasets import describe, organ_case, volume_dataset, write_volume

from balrsam_pipeline.cli import main


def test_verify_prints_what_is_wrong_and_how_to_fix_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = volume_dataset(tmp_path / "Dataset001_Masks")
    assert main(["verify", str(folder), "--workers", "1"]) == 0
    _, label = organ_case(0)
    write_volume(folder / "labelsTr" / "case_03.nii.gz", (label > 0).astype(np.uint8) * 255, (1.0, 1.0, 1.0))
    capsys.readouterr()
    assert main(["verify", str(folder), "--workers", "1", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert {problem["case"] for problem in report["problems"] if problem["severity"] == "error"} == {
        "case_03"
    }


def test_fix_writes_a_fixed_copy(tmp_path: Path) -> None:
    folder = volume_dataset(tmp_path / "Dataset001_Masks")
    describe(folder, {"background": 0, "organ": 1}, ["T1"], 6)
    for path in (folder / "labelsTr").iterdir():
        write_volume(path, (organ_case(0)[1] > 0).astype(np.uint8) * 255, (1.0, 1.0, 1.0))
    before = path.read_bytes()
    target = tmp_path / "Dataset101_Mended"
    assert main(["verify", str(folder), "--workers", "1", "--fix", str(target)]) == 0
    assert main(["verify", str(target), "--workers", "1"]) == 0
    assert path.read_bytes() == before
