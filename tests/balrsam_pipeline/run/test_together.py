"""Folds that are trained at the same time, and their own steps, which find them done: what is made again when
something is lost, what is expected to take how long, and what another machine makes of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.plans import example_plan

from balrsam_pipeline.files import write_json
from balrsam_pipeline.layout import PreprocessedFolder, ResultsFolder
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.plan import Plan, write_versioned
from balrsam_pipeline.run.estimates import Estimate, estimate
from balrsam_pipeline.run.execute import check, known_steps, records_folder, run_step
from balrsam_pipeline.run.file_hashes import ContentHashes
from balrsam_pipeline.run.records import read_record
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.step import Step

TWO = ("cpu", "cpu")


def plan_with_companion() -> Plan:
    one = example_plan().configuration("2d")
    other = dataclasses.replace(one, name="3d")
    return dataclasses.replace(example_plan(), configurations={"2d": one, "3d": other}, companions=("3d",))


class Job:
    """A planned dataset; a training writes a checkpoint that never has the same content twice."""

    def __init__(self, folder: Path, **choices: Any) -> None:
        roots = Roots(raw=folder / "raw", preprocessed=folder / "preprocessed", results=folder / "results")
        self.request = RunRequest(
            dataset=roots.raw / "Dataset001_X", roots=roots, folds=(0,), devices=TWO, max_minutes=10.0
        )
        self.request = dataclasses.replace(self.request, **choices)
        self.request.dataset.mkdir(parents=True)
        planned = PreprocessedFolder(self.request.preprocessed)
        write_versioned(self.request.planned.plan, plan_with_companion())
        write_json(planned.folds, [{"train": ["a"], "val": ["b"]}] * 2)
        self.trained = 0

    def fold(self, name: str, fold: int = 0) -> Any:
        return ResultsFolder(self.request.results).model(name).fold(fold)

    def steps(self) -> dict[str, Step]:
        return {step.name: step for step in known_steps(self.request)}

    def estimate(self, name: str) -> Estimate:
        return estimate(self.steps()[name], self.request, records_folder(self.request))

    def command(self, name: str, words: tuple[str, ...], note: Callable[[str], None]) -> int:
        if "--parallel-folds" in words:
            for step in self.steps().values():
                if step.command == "train":
                    self.train(
                        *(step.words[step.words.index(word) + 1] for word in ("--configuration", "--fold"))
                    )
        elif name == "train":
            self.train(*(words[words.index(word) + 1] for word in ("--configuration", "--fold")))
        return 0

    def train(self, name: str, fold: str) -> None:
        files = self.fold(name, int(fold))
        checkpoint = files.checkpoint("final")
        anew = not checkpoint.is_file()
        if anew:
            self.trained += 1
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.write_text(f"training {self.trained}")
        if anew or not files.validation.summary.is_file():
            files.validation.path.mkdir(parents=True, exist_ok=True)
            files.validation.summary.write_text("{}")
            (files.validation.path / "b.nii.gz").write_text(f"predicted by {checkpoint.read_text()}")

    def run(self) -> list[str]:
        """Do the steps of training; returns those that were not done."""
        hashes, undone = ContentHashes(records_folder(self.request) / "hashes.json"), []
        for name, step in self.steps().items():
            if not name.startswith("train"):
                continue
            state = check(step, self.request, hashes)
            if state.status != "done":
                undone.append(name)
                run_step(step, state, self.request, hashes, self.command)
        return undone


def test_a_lost_checkpoint_is_trained_once_more_and_no_more(tmp_path: Path) -> None:
    job = Job(tmp_path)
    steps = ["train_on_devices", "train_2d_fold_0", "train_3d_fold_0"]
    assert job.run() == steps and job.trained == 2
    assert job.run() == []
    job.fold("2d").checkpoint("final").unlink()
    job.run()
    assert job.trained == 3
    prediction = job.fold("2d").validation.path / "b.nii.gz"
    assert prediction.read_text() == "predicted by training 3", "it was predicted by what is there no longer"
    assert job.run() == [] and job.trained == 3


def test_a_damaged_prediction_is_made_again_without_training(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.run()
    prediction = job.fold("3d").validation.path / "b.nii.gz"
    prediction.write_text("damaged")
    assert job.run() == ["train_3d_fold_0"]
    assert (job.trained, prediction.read_text()) == (2, "predicted by training 2")
    assert job.run() == []


def test_other_devices_keep_the_companions_that_were_trained(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job.run()
    trainings = {"train_2d_fold_0", "train_3d_fold_0"}
    for devices in ((), ("cuda:0", "cuda:1", "cuda:2")):
        job.request = dataclasses.replace(job.request, devices=devices)
        assert trainings <= job.steps().keys()
    job.request = dataclasses.replace(job.request, devices=(), folds=(0, 1))
    assert "train_3d_fold_0" not in job.steps(), "of fold 1 none was trained"


def test_what_is_left_of_trainings_side_by_side_is_told_by_their_logs(tmp_path: Path) -> None:
    job = Job(tmp_path)
    assert job.estimate("train_on_devices").seconds == 600.0
    assert job.estimate("train_3d_fold_0") == Estimate(0.0, "trained by train_on_devices")
    for name, left in (("2d", 60.0), ("3d", 90.0)):
        log = job.fold(name).log
        log.parent.mkdir(parents=True)
        log.write_text(
            json.dumps({"event": "epoch", "left_s": left, "elapsed_s": 500.0, "validation_s": 5.0})
        )
    assert job.estimate("train_on_devices").seconds == 95.0
    job.run()
    record = read_record(records_folder(job.request), "train_2d_fold_0")
    assert record is not None and record.seconds is None, "the step found the fold trained"


@pytest.mark.parametrize(("folds", "seconds"), [((0,), 600.0), ((0, 1), 600.0), ((0, 1, 2), 1200.0)])
def test_folds_take_turns_on_devices(folds: tuple[int, ...], seconds: float, tmp_path: Path) -> None:
    assert Job(tmp_path, folds=folds).estimate("train_on_devices").seconds == seconds
