from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.network import preset
from balrsam_pipeline.plan import Backbone


def test_vit_h_trains_the_share_that_the_paper_states(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--backbone", "vit_h"]) == 0
    table = capsys.readouterr().out
    trained, frozen = (
        int(number.replace(",", ""))
        for number in re.findall(r"^all\s+([\d,]+)\s+([\d,]+)", table, re.MULTILINE)[0]
    )
    assert trained == pytest.approx(11.7e6, rel=0.02)
    assert 0.0175 <= trained / (trained + frozen) <= 0.0185


@pytest.mark.parametrize(("words", "told"), [([], "DATASET"), (["4", "--backbone", "vit_b"], "4")])
def test_a_dataset_or_a_backbone_not_neither_nor_both(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", *words]) == 2
    assert f"balrsam describe {told}" in capsys.readouterr().err


def test_a_dataset_without_a_plan_is_told_how_to_get_one(
    test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", "4", "--raw", str(test_data / "raw"), "--preprocessed", str(tmp_path)]) == 2
    assert "balrsam plan_and_preprocess 4" in capsys.readouterr().err


def test_an_input_size_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "--backbone", "vit_b", "--input-size", "100"]) == 2
    assert "multiples of 16" in capsys.readouterr().err


def test_a_plan_is_described_and_a_usage_error_told_without_torch(test_data: Path, tmp_path: Path) -> None:
    """Loading it takes two seconds."""
    folders = ["--raw", str(test_data / "raw"), "--preprocessed", str(tmp_path)]
    for words in (["describe"], ["describe", "4", *folders]):
        script = (
            f"import sys; from balrsam_pipeline.cli import main; print(main({words}), 'torch' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["2", "False"]


def test_help_tells_the_side_of_every_backbone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["describe", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    default, *others = re.findall(r"side of the input \(default: (.*?)\)", told)[0].split("; ")
    sides = {name: int(part.split(": ")[1]) for part in others for name in part.split(": ")[0].split(" and ")}
    for backbone in get_args(Backbone):
        assert sides.get(backbone, int(default)) == preset(backbone).input_size[0]
