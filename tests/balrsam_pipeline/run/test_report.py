"""`balrsam status`: where every step stands, also where commands were typed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.plans import example_plan

from balrsam_pipeline.execution.lock import folder_lock
from balrsam_pipeline.layout import FoldFolder, PreprocessedFolder, ResultsFolder
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.plan import write_versioned
from balrsam_pipeline.run.report import remembered, status_lines
from balrsam_pipeline.run.request import RunRequest

CASES = ("a", "b")


@pytest.fixture
def request_(tmp_path: Path) -> RunRequest:
    """A dataset of two folds and one test image, planned and preprocessed by hand."""
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    request = RunRequest(dataset=roots.raw / "Dataset001_X", roots=roots)
    (request.dataset / "imagesTs").mkdir(parents=True)
    (request.dataset / "imagesTs" / "c_0000.nii.gz").write_text("c")
    (request.dataset / "dataset.json").write_text("{}")
    files = PreprocessedFolder(request.preprocessed)
    (files.path / "2d").mkdir(parents=True)
    write_versioned(files.plan, example_plan())
    files.folds.write_text(json.dumps([{"train": ["a"], "val": ["b"]}, {"train": ["b"], "val": ["a"]}]))
    for case in CASES:
        (files.path / "2d" / f"{case}.b2nd").write_text("")
        (files.path / "2d" / f"{case}.json").write_text("{}")
    return request


def fold_of(request: RunRequest, number: int) -> FoldFolder:
    fold = ResultsFolder(request.results).model("2d").fold(number)
    fold.path.mkdir(parents=True, exist_ok=True)
    return fold


def finish(fold: FoldFolder, dice: float) -> None:
    fold.checkpoint("final").write_text("")
    fold.validation.path.mkdir()
    fold.validation.summary.write_text(json.dumps({"foreground_mean": {"Dice": dice}}))


def line_of(request: RunRequest, step: str) -> str:
    """The line of a step, with what is wrapped below it."""
    lines = status_lines(request)[1:]
    first = next(index for index, line in enumerate(lines) if step in line.split())
    below = [line.strip() for line in lines[first + 1 :]]
    more = next((n for n, line in enumerate(lines[first + 1 :]) if not line.startswith(" " * 15)), len(below))
    return " ".join([lines[first].strip(), *below[:more]])


def test_what_was_done_by_hand_is_done(request_: RunRequest) -> None:
    finish(fold_of(request_, 0), 0.81234)
    assert line_of(request_, "prepare").split() == ["done", "prepare", "by", "hand"]
    assert line_of(request_, "train_2d_fold_0").endswith("by hand, Dice 0.8123")
    assert line_of(request_, "train_2d_fold_1").startswith("to do")
    assert line_of(request_, "predict").startswith("to do")
    predictions = ResultsFolder(request_.results).predictions.path
    predictions.mkdir()
    (predictions / "c.nii.gz").write_text("")
    assert line_of(request_, "predict").startswith("done")


def test_a_plan_whose_cases_are_not_all_preprocessed_is_not_done(request_: RunRequest) -> None:
    (PreprocessedFolder(request_.preprocessed).path / "2d" / "b.json").unlink()
    assert line_of(request_, "prepare").startswith("to do")


def test_a_fold_that_was_begun_by_hand_and_stopped_goes_on(request_: RunRequest) -> None:
    fold_of(request_, 1).checkpoint("latest").write_text("")
    line = line_of(request_, "train_2d_fold_1")
    assert line.startswith("stopped") and "the same command goes on" in line


def test_whoever_is_at_work_is_said_above_and_with_its_last_word(request_: RunRequest) -> None:
    assert status_lines(request_)[0].endswith("nothing is going on")
    fold = fold_of(request_, 1)
    fold.text_log.write_text(
        "2026-11-29 01:02:03  first\n2026-11-29 01:02:18  2d, fold 1: step 9 of 90 (10%), about 3 min left\n"
    )
    with folder_lock(fold.path):
        assert status_lines(request_)[0].endswith("at work, by hand: train_2d_fold_1")
        line = line_of(request_, "train_2d_fold_1")
        assert line.startswith("running") and "01:02:18 2d, fold 1: step 9 of 90" in " ".join(line.split())


@pytest.mark.parametrize("key", ["epoch", "progress", "left_s", "quick_dice"])
def test_a_log_with_an_infinite_number_ends_no_status(request_: RunRequest, key: str) -> None:
    fold = fold_of(request_, 1)
    fold.checkpoint("latest").write_text("")
    epoch = {"event": "epoch", "step": 1, "epoch": 1, "progress": 0.5, "left_s": 60.0, "quick_dice": 0.5}
    fold.log.write_text(json.dumps(epoch | {key: float("inf")}) + "\n")
    assert line_of(request_, "train_2d_fold_1").startswith("stopped")


@pytest.mark.parametrize("number", ["1e999", "NaN", "Infinity"])
def test_a_request_with_a_number_that_is_none_is_as_one_that_cannot_be_read(
    request_: RunRequest, number: str
) -> None:
    folder = ResultsFolder(request_.results).run
    folder.mkdir(parents=True)
    text = '{"configurations": null, "folds": null, "max_minutes": null, "settings": null, "epochs": EPOCHS}'
    (folder / "request.json").write_text(text.replace("EPOCHS", "7"))
    assert remembered(request_).epochs == 7
    (folder / "request.json").write_text(text.replace("EPOCHS", number))
    assert remembered(request_).epochs is None


def test_lines_fit_a_terminal(request_: RunRequest) -> None:
    fold = fold_of(request_, 0)
    with folder_lock(fold.path):
        assert max(map(len, status_lines(request_))) <= 80


def test_the_steps_are_those_of_the_configurations_that_were_trained_by_hand(request_: RunRequest) -> None:
    assert remembered(request_).configurations is None
    fold_of(request_, 0)
    assert remembered(request_).configurations == ("2d",)
