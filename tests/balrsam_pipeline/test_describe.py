from __future__ import annotations

import re
from pathlib import Path

import pytest

from balrsam_pipeline.cli import main


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
