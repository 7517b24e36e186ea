"""The demo checks its own result and says where to look first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.demo.cli import EXPECTED_DICE, checked
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.layout import ResultsFolder


def scored(folder: Path, dice: float) -> ResultsFolder:
    results = ResultsFolder(folder)
    evaluation = results.predictions.evaluation
    evaluation.path.mkdir(parents=True)
    evaluation.summary.write_text(json.dumps({"foreground_mean": {"Dice": dice}}))
    evaluation.report.write_text("<html></html>")
    return results


def test_a_result_that_is_good_enough_is_said_to_be(tmp_path: Path) -> None:
    assert "0.9512" in checked(scored(tmp_path, 0.9512), full=True)


def test_a_result_that_is_too_low_is_an_error_unless_it_was_trained_for_less(tmp_path: Path) -> None:
    results = scored(tmp_path, EXPECTED_DICE - 0.01)
    with pytest.raises(PredictionError, match="at least"):
        checked(results, full=True)
    assert "Test Dice" in checked(results, full=False)


def test_open_prints_the_link_of_the_page_to_look_at_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw" / "Dataset001_X"
    raw.mkdir(parents=True)
    (raw / "dataset.json").write_text("{}")
    words = ["open", str(raw), "--no-browser", "--results", str(tmp_path / "results")]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert "balrsam run" in told and "Dataset001_X" in told
    report = scored(tmp_path / "results" / raw.name, 0.9).predictions.evaluation.report
    assert main(words) == 0
    assert capsys.readouterr().out.strip() == report.as_uri()
