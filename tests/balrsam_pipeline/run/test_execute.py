"""A graph of two small steps: what is done again when what changes, and what is said about it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from balrsam_pipeline.dataset import Fold, write_folds
from balrsam_pipeline.errors import DatasetError, PredictionError
from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.run.cli import run_all
from balrsam_pipeline.run.execute import check, records_folder, run_step
from balrsam_pipeline.run.file_hashes import ContentHashes
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.state import StepState
from balrsam_pipeline.run.step import Step

COPY = Step(
    name="copy",
    title="Copy",
    command="predict",
    words=("words",),
    settings={"--folds": "0 1"},
    inputs=("raw/imagesTs/*",),
    outputs=("results/predictions/*",),
    continues=("--continue",),
    outdated=("results/predictions/*",),
)


class Job:
    """A request, and a command that copies imagesTs to predictions."""

    def __init__(self, folder: Path) -> None:
        roots = Roots(raw=folder / "raw", preprocessed=folder / "preprocessed", results=folder / "results")
        self.request = RunRequest(dataset=roots.raw / "Dataset001_X", roots=roots)
        self.images, self.predictions = self.request.dataset / "imagesTs", self.request.predictions
        self.images.mkdir(parents=True)
        for name in "ab":
            (self.images / name).write_text(name)
        self.called: list[tuple[str, ...]] = []
        self.code = 0

    def command(self, name: str, words: tuple[str, ...], note: Callable[[str], None]) -> int:
        self.called.append(words)
        self.predictions.mkdir(parents=True, exist_ok=True)
        for path in sorted(self.images.iterdir()):
            if "--continue" not in words or not (self.predictions / path.name).exists():
                shutil.copyfile(path, self.predictions / path.name)
            if self.code == 9:
                raise SystemExit(9)  # as if killed after the first
        if self.code == 2:
            note(str(PredictionError("case a", found="nonsense", expected="sense", fix="fix it")))
        return self.code

    def state(self, step: Step = COPY) -> StepState:
        return check(step, self.request, ContentHashes(records_folder(self.request) / "hashes.json"))

    def run(self, step: Step = COPY) -> int:
        hashes = ContentHashes(records_folder(self.request) / "hashes.json")
        return run_step(step, check(step, self.request, hashes), self.request, hashes, self.command)

    def said(self, step: Step = COPY) -> tuple[str, str]:
        state = self.state(step)
        return state.status, state.why


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_what_is_done_stays_done(job: Job) -> None:
    assert job.said() == ("to do", "")
    assert job.run() == 0
    assert job.said() == ("done", "")
    for path in job.images.iterdir():
        path.touch()
    assert job.said() == ("done", ""), "a date is no content"


def test_the_record_holds_command_contents_and_time(job: Job) -> None:
    job.run()
    record = json.loads((records_folder(job.request) / "copy.json").read_text())
    assert record["command"] == "balrsam predict words"
    assert set(record["inputs"]) == {"--folds", "raw/imagesTs/a", "raw/imagesTs/b"}
    assert record["outputs"]["results/predictions/a"]["size"] == 1
    assert record["outputs"]["results/predictions/a"]["sha256"] == record["inputs"]["raw/imagesTs/a"]
    assert record["seconds"] >= 0 and record["begun"].startswith("20")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda job: (job.images / "a").write_text("other"), "raw/imagesTs/a has changed"),
        (lambda job: (job.images / "c").write_text("c"), "raw/imagesTs/c is new"),
        (lambda job: (job.images / "b").unlink(), "raw/imagesTs/b is gone"),
        (lambda job: (job.predictions / "b").unlink(), "results/predictions/b is gone"),
        (lambda job: (job.predictions / "b").write_text("x"), "results/predictions/b was changed"),
        (lambda job: (job.predictions / "b").write_text("xx"), "results/predictions/b was changed"),
    ],
)
def test_a_changed_input_or_output_makes_a_step_stale_and_says_which(
    job: Job, change: Callable[[Job], object], why: str
) -> None:
    job.run()
    change(job)
    assert job.said() == ("stale", why)
    assert job.run() == 0
    assert job.said() == ("done", "")
    assert {path.name: path.read_text() for path in job.predictions.iterdir()} == {
        path.name: path.read_text() for path in job.images.iterdir()
    }


def test_a_changed_setting_is_told_with_both_values(job: Job) -> None:
    job.run()
    assert job.said(dataclasses.replace(COPY, settings={"--folds": "0"})) == ("stale", "--folds 0 1 -> 0")


def test_a_run_of_an_earlier_version_that_preprocessed_all_goes_on(job: Job) -> None:
    """It has what is recommended, and more: planned anew it would strand what was trained."""
    every = dataclasses.replace(COPY, settings={"--configurations": "all"})
    job.run(every)
    recommended = dataclasses.replace(COPY, settings={"--configurations": "recommended"})
    assert job.said(recommended)[0] == "done"
    assert job.said(dataclasses.replace(COPY, settings={"--configurations": "3d"}))[0] == "stale"
    job.run(recommended)
    assert job.said(every)[0] == "stale"  # but what is recommended is not all


def test_a_failed_step_is_told_with_its_message_and_done_again(job: Job) -> None:
    job.code = 2
    assert job.run() == 2
    assert job.said() == ("failed", "case a")
    job.code = 0
    job.run()
    assert job.said() == ("done", "")


def test_a_step_that_left_cases_out_is_done_again(job: Job) -> None:
    job.code = 1
    assert job.run() == 1
    assert job.said() == ("partly", "some cases failed")


def test_an_interrupted_step_goes_on_where_its_inputs_are_the_same(job: Job) -> None:
    job.code = 9
    with pytest.raises(SystemExit):
        job.run()
    job.code = 0
    (job.predictions / "a").write_text("was there before")
    job.run()
    assert job.called[-1] == ("words", "--continue")
    assert (job.predictions / "a").read_text() == "was there before"


def test_an_interrupted_step_starts_anew_where_its_inputs_have_changed(job: Job) -> None:
    job.code = 9
    with pytest.raises(SystemExit):
        job.run()
    job.code = 0
    (job.images / "a").write_text("other")
    job.run()
    assert job.called[-1] == ("words",)
    assert (job.predictions / "a").read_text() == "other"


@pytest.mark.parametrize("code", [75, 130])
def test_a_step_that_was_asked_to_stop_is_stopped_and_goes_on(job: Job, code: int) -> None:
    job.code = code
    assert job.run() == code
    status, why = job.said()
    assert status == "stopped" and "the same command goes on" in why
    job.code = 0
    job.run()
    assert job.called[-1] == ("words", "--continue")
    assert job.said() == ("done", "")


def test_a_killed_step_is_told_as_interrupted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    job.run()
    path = records_folder(job.request) / "copy.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "running", "outputs": {}}))
    assert job.said()[0] == "interrupted"


def test_folds_that_validate_a_case_twice_end_a_run_before_any_is_trained(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their scores are pooled in the end; one of them alone is trained like any other, as is "all"."""
    done: list[str] = []
    monkeypatch.setattr("balrsam_pipeline.run.cli._run_step", lambda step, *_: done.append(step.name) or 0)
    monkeypatch.setattr("balrsam_pipeline.run.cli.page_kept", lambda _: contextlib.nullcontext())
    monkeypatch.setattr("balrsam_pipeline.run.cli.known_steps", lambda _: (COPY, COPY))
    for name in ("time_line", "write_page", "remember_request"):
        monkeypatch.setattr(f"balrsam_pipeline.run.cli.{name}", lambda *_: "")
    folds = (Fold(train=("b",), val=("a",)), Fold(train=("c",), val=("a", "b")))
    write_folds(PreprocessedFolder(job.request.preprocessed).folds, folds)
    with pytest.raises(DatasetError, match="a in folds 0 1"):
        run_all(job.request)
    assert len(done) == 1, "planning"
    assert run_all(dataclasses.replace(job.request, folds=(1, "all"))) == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"step": 3}', '{"outputs": {"../../x": 1}}'])
def test_a_damaged_record_means_doing_the_step_again(job: Job, content: str) -> None:
    job.run()
    (records_folder(job.request) / "copy.json").write_text(content)
    assert job.said() == ("to do", "")


def test_a_record_that_names_files_elsewhere_cannot_have_them_removed(job: Job, tmp_path: Path) -> None:
    job.run()
    (tmp_path / "precious").write_text("keep me")
    path = records_folder(job.request) / "copy.json"
    record = json.loads(path.read_text())
    record["outputs"]["results/../../precious"] = {"size": 3, "sha256": "0"}
    path.write_text(json.dumps(record))
    assert job.said()[0] == "stale"
    job.run()
    assert (tmp_path / "precious").read_text() == "keep me"
