from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from support.plans import example_plan

from balrsam_pipeline.paths import Roots
from balrsam_pipeline.progress import in_words
from balrsam_pipeline.run.estimates import Estimate, estimate, trains_one_configuration
from balrsam_pipeline.run.execute import records_folder
from balrsam_pipeline.run.records import StepRecord, begin, write_record
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.steps import planning_step, steps_after_planning
from balrsam_pipeline.run.try_machine import Tried, try_machine

EPOCH = {
    "event": "epoch",
    "step": 100,
    "epoch": 1,
    "progress": 0.25,
    "elapsed_s": 100.0,
    "left_s": 300.0,
    "quick_dice": 0.5,
}


def job(folder: Path, max_minutes: float | None = None) -> RunRequest:
    roots = Roots(raw=folder / "raw", preprocessed=folder / "preprocessed", results=folder / "results")
    return RunRequest(dataset=roots.raw / "Dataset002_New", roots=roots, max_minutes=max_minutes)


def done(step: str, cases: int, seconds: float) -> StepRecord:
    return dataclasses.replace(begin(step, "", {}, cases), state="done", seconds=seconds)


def of_fold(request: RunRequest, fold: int) -> Estimate:
    return estimate(
        steps_after_planning(request, example_plan(), range(2))[fold], request, records_folder(request)
    )


def write_log(request: RunRequest, fold: int, *lines: str) -> Path:
    log = request.results / "2d__balrsam" / f"fold_{fold}" / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(lines))
    return log


def test_nothing_known_is_said_to_be_unknown(tmp_path: Path) -> None:
    request = job(tmp_path)
    assert str(of_fold(request, 0)) == "unknown"
    assert str(estimate(planning_step(request), request, records_folder(request))) == "unknown"


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ({}, 5000.0),
        ({"epochs": 3}, 30.0),
        ({"max_minutes": 20.0}, None),
        ({"settings": Path("settings.json")}, None),
        ({"options": {"train": {"--max-steps": ("10",)}}}, None),
        ({"options": {"train": {"--seed": ("1",)}}}, 5000.0),
    ],
)
def test_steps_that_are_tried_tell_how_long_a_fold_trains_unless_something_else_was_asked_for(
    choices: dict[str, Any], expected: float | None, tmp_path: Path
) -> None:
    def check_machine(_: str, words: tuple[str, ...], __: object) -> int:
        figures = {"step_s": 0.1, "planned_s": 5000.0, "epoch_s": 10.0}
        content = {"findings": [{"figures": {"device": "cuda"}}, {"figures": figures}]}
        Path(words[words.index("--json") + 1]).write_text(json.dumps(content))
        return 0

    request = dataclasses.replace(job(tmp_path), **choices)
    assert try_machine(request, print, check_machine) == Tried(good=True, fold_s=expected)
    assert try_machine(request, print, lambda *_: 1) == Tried(good=False)


def test_the_steps_that_were_tried_tell_where_nothing_else_does(tmp_path: Path) -> None:
    request = job(tmp_path)
    first, second, *_ = steps_after_planning(request, example_plan(), range(2))
    folder = records_folder(request)
    assert estimate(first, request, folder, 5000.0).seconds == 5000.0
    write_log(request, 0, json.dumps(EPOCH))
    assert [estimate(step, request, folder, 5000.0).seconds for step in (first, second)] == [300.0, 400.0]
    timed = job(tmp_path / "timed", 20.0)
    step = steps_after_planning(timed, example_plan(), range(2))[0]
    assert estimate(step, timed, records_folder(timed), 5000.0).seconds == 1200.0


def test_a_budget_in_minutes_is_believed_without_validation(tmp_path: Path) -> None:
    assert of_fold(job(tmp_path, 20.0), 0) == Estimate(1200.0, "--max-minutes; validation not counted")


def test_a_fold_that_was_begun_takes_what_its_log_expects_and_the_next_as_long_as_all_of_it(
    tmp_path: Path,
) -> None:
    request = job(tmp_path)
    write_log(request, 0, json.dumps(EPOCH), '{"event": "skipped"}', '{"event": "ep')
    assert of_fold(request, 0).seconds == 300.0
    assert of_fold(request, 1).seconds == 400.0


def test_another_fold_that_was_trained_is_the_best_measure(tmp_path: Path) -> None:
    request = job(tmp_path, 20.0)
    write_record(records_folder(request), done("train_2d_fold_0", 0, 77.0))
    assert of_fold(request, 1) == Estimate(77.0, "as train 2d fold 0 took")


def test_planning_is_estimated_by_the_seconds_an_image_of_another_dataset(tmp_path: Path) -> None:
    request = job(tmp_path)
    (request.dataset / "imagesTr").mkdir(parents=True)
    for number in range(10):
        (request.dataset / "imagesTr" / f"{number}.nii.gz").write_text("")
    other = request.roots.results / "Dataset001_Old" / "run"
    write_record(other, done("prepare", 4, 2.0))
    assert estimate(planning_step(request), request, records_folder(request)) == Estimate(
        5.0, "0.5 s per image, measured on Dataset001_Old"
    )


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (40, "40 s"), (150, "2 min"), (7200, "2.0 h")])
def test_times_are_told_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_step_that_was_tried_tells_of_its_own_configuration_alone(tmp_path: Path) -> None:
    steps = steps_after_planning(job(tmp_path), example_plan(), range(2))
    assert trains_one_configuration(steps)
    other = dataclasses.replace(steps[0], name=steps[0].name.replace("2d", "3d"))
    assert not trains_one_configuration([*steps, other])
