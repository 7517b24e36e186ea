"""What `balrsam run` does with a plan that was made by hand: it keeps it."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import pytest
from support.datasets import organ_case, volume_dataset, write_volume

from balrsam_pipeline.cli import main, run_command
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.run.execute import check, records_folder, run_step
from balrsam_pipeline.run.file_hashes import ContentHashes
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.state import StepState
from balrsam_pipeline.run.steps import planning_step


class Dataset:
    """A small dataset, planned by hand and by a run."""

    def __init__(self, folder: Path) -> None:
        roots = Roots(raw=folder / "raw", preprocessed=folder / "pre", results=folder / "results")
        self.request = RunRequest(
            dataset=volume_dataset(roots.raw / "Dataset001_X"), roots=roots, configurations=("2d",), workers=1
        )

    def plan_by_hand(self, *words: str) -> None:
        where = ["--preprocessed", str(self.request.roots.preprocessed), "--workers", "1"]
        assert main(["plan_and_preprocess", str(self.request.dataset), *where, *words]) == 0

    def state(self, request: RunRequest | None = None) -> StepState:
        request = request or self.request
        hashes = ContentHashes(records_folder(request) / "hashes.json")
        return check(planning_step(request), request, hashes)

    def plan_by_run(self, request: RunRequest | None = None) -> int:
        request = request or self.request
        hashes = ContentHashes(records_folder(request) / "hashes.json")
        return run_step(planning_step(request), self.state(request), request, hashes, run_command)

    def add_a_case(self) -> None:
        images, _ = organ_case(99)
        write_volume(self.request.dataset / "imagesTr" / "case_03_0000.nii.gz", images[0], (1.0, 1.0, 1.0))

    def asking(self, **options: str) -> RunRequest:
        given: dict[str, tuple[str, ...]] = {
            f"--{name.replace('_', '-')}": (value,) for name, value in options.items()
        }
        return RunRequest(
            dataset=self.request.dataset,
            roots=self.request.roots,
            configurations=("2d",),
            workers=1,
            options={"plan_and_preprocess": given},
        )

    def edit(self, batch_size: int) -> None:
        path = self.request.planned.plan
        content = json.loads(path.read_text())
        content["configurations"]["2d"]["batch_size"] = batch_size
        path.write_text(json.dumps(content))

    @property
    def batch_size(self) -> int:
        return read_plan(self.request.planned.plan).configuration("2d").batch_size

    @property
    def overrides(self) -> dict[str, str]:
        return read_plan(self.request.planned.plan).overrides


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(tmp_path)


def test_a_plan_made_by_hand_is_kept_byte_by_byte(dataset: Dataset) -> None:
    dataset.plan_by_hand("--batch-size", "3", "--configurations", "2d")
    before = dataset.request.planned.plan.read_bytes()
    assert "made by hand" in dataset.state().why
    assert dataset.plan_by_run() == 0
    assert dataset.request.planned.plan.read_bytes() == before
    assert dataset.state().status == "done"


def test_a_plan_made_by_hand_after_a_run_is_kept_too(dataset: Dataset) -> None:
    assert dataset.plan_by_run() == 0
    dataset.plan_by_hand("--batch-size", "3", "--configurations", "2d")
    assert dataset.plan_by_run() == 0
    assert dataset.overrides == {"batch_size": "3"}


def test_what_a_run_was_asked_for_and_is_no_longer_is_planned_anew(dataset: Dataset) -> None:
    asked = dataset.asking(batch_size="3")
    assert dataset.plan_by_run(asked) == 0
    assert dataset.overrides == {"batch_size": "3"}
    assert dataset.plan_by_run() == 0
    assert dataset.overrides == {}


def test_a_stop_before_the_new_plan_does_not_make_the_old_one_by_hand(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dataset.plan_by_run(dataset.asking(batch_size="3")) == 0
    with monkeypatch.context() as patch:
        patch.setattr("planners.plan_and_preprocess._write_if_new", _interrupt)
        assert dataset.plan_by_run() == 130
    assert dataset.overrides == {"batch_size": "3"}
    assert "by hand" not in dataset.state().why
    assert dataset.plan_by_run() == 0
    assert dataset.overrides == {}
    assert dataset.state().status == "done"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_plan_that_is_kept_goes_on_recommending_what_it_did(dataset: Dataset) -> None:
    dataset.plan_by_hand()
    before = dataset.request.planned.plan.read_bytes()
    assert read_plan(dataset.request.planned.plan).default_configuration != "2d"
    for request in (dataset.request, dataclasses.replace(dataset.request, configurations=None)):
        assert dataset.plan_by_run(request) == 0
        assert dataset.request.planned.plan.read_bytes() == before


def test_options_of_the_run_go_before_the_plan_made_by_hand_and_say_so(
    dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    dataset.plan_by_hand("--batch-size", "3", "--configurations", "2d")
    assert dataset.plan_by_run(dataset.asking(batch_size="2")) == 0
    assert dataset.overrides == {"batch_size": "2"}
    assert "--batch-size 3" in caplog.text and "--plan NAME" in caplog.text


def test_a_plan_made_by_hand_of_data_that_changed_stops_the_run_and_names_its_options(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset.plan_by_hand("--batch-size", "3", "--configurations", "2d")
    dataset.add_a_case()
    assert "there is a plan made by hand" in dataset.state().why and "kept" not in dataset.state().why
    assert dataset.plan_by_run() == 2
    assert "--batch-size 3" in capsys.readouterr().err
    assert dataset.overrides == {"batch_size": "3"}


def test_a_plan_for_a_gpu_is_kept_where_there_is_none(dataset: Dataset) -> None:
    dataset.plan_by_hand("--gpu-memory-gb", "8", "--backbone", "vit_mini", "--configurations", "2d")
    assert dataset.plan_by_run() == 0
    assert read_plan(dataset.request.planned.plan).gpu_memory_gb == 8


def test_a_plan_for_a_gpu_made_by_hand_after_a_run_is_kept_and_an_unchanged_repeat_is_done(
    dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    assert dataset.plan_by_run() == 0
    assert dataset.state().status == "done"
    dataset.plan_by_hand("--gpu-memory-gb", "24", "--configurations", "2d")
    before = dataset.request.planned.plan.read_bytes()
    assert "there is a plan made by hand" in dataset.state().why
    with caplog.at_level("INFO"):
        assert dataset.plan_by_run() == 0
    assert dataset.request.planned.plan.read_bytes() == before
    assert "kept as it is, made for a GPU of 24 GB" in caplog.text
    assert dataset.state().status == "done"


def test_another_value_of_an_option_that_the_run_had_been_given_is_kept(dataset: Dataset) -> None:
    assert dataset.plan_by_run(dataset.asking(batch_size="2")) == 0
    dataset.plan_by_hand("--batch-size", "3", "--configurations", "2d")
    assert dataset.plan_by_run() == 0
    assert dataset.overrides == {"batch_size": "3"}


@pytest.mark.parametrize("size", ["2", "4"])
def test_a_plan_made_by_hand_after_a_run_is_named_where_options_of_the_next_run_replace_it(
    dataset: Dataset, caplog: pytest.LogCaptureFixture, size: str
) -> None:
    assert dataset.plan_by_run(dataset.asking(batch_size="2")) == 0
    dataset.plan_by_hand("--batch-size", "3", "--configurations", "2d")
    caplog.clear()
    asked = dataset.asking(batch_size=size)
    assert "made by hand, and the options of planning given here go before it" in dataset.state(asked).why
    assert dataset.plan_by_run(asked) == 0
    assert dataset.overrides == {"batch_size": size}
    assert "the plan before was made for a CPU with --batch-size 3" in caplog.text


def test_a_plan_edited_after_a_run_is_kept_and_what_replaces_it_says_what_it_had(
    dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    assert dataset.plan_by_run() == 0
    planned = dataset.batch_size
    dataset.edit(batch_size=5)
    assert dataset.plan_by_run() == 0
    assert dataset.batch_size == 5 and dataset.state().status == "done"
    dataset.plan_by_hand("--configurations", "2d")
    assert dataset.batch_size == planned
    assert f"the plan before, made for a CPU too, had 2d.batch_size 5 (now {planned})" in caplog.text


def test_a_plan_kept_by_a_run_that_failed_is_kept_by_the_next(dataset: Dataset) -> None:
    assert dataset.plan_by_run() == 0
    dataset.edit(batch_size=5)
    label = next((dataset.request.dataset / "labelsTr").iterdir())
    content = label.read_bytes()
    label.unlink()
    assert dataset.plan_by_run() == 2
    assert dataset.plan_by_run(dataset.asking(batch_size="2")) == 2
    label.write_bytes(content)
    assert dataset.plan_by_run() == 0
    assert dataset.batch_size == 5


def test_a_damaged_plan_is_made_anew(dataset: Dataset) -> None:
    assert dataset.plan_by_run() == 0
    before = dataset.request.planned.plan.read_bytes()
    dataset.request.planned.plan.write_bytes(before[:-20])
    assert dataset.plan_by_run() == 0
    assert dataset.request.planned.plan.read_bytes() == before


def test_the_command_named_for_a_plan_taken_over_plans_anew_with_it(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Dataset(tmp_path / "elsewhere")
    other.plan_by_hand("--batch-size", "3", "--configurations", "2d")
    dataset.plan_by_hand("--like", str(other.request.planned.plan), "--configurations", "2d")
    dataset.add_a_case()
    assert dataset.plan_by_run() == 2
    said = " ".join(capsys.readouterr().err.split())
    named = said.partition("plan anew with that: balrsam ")[2].partition("; or")[0]
    assert main([*shlex.split(named), "--workers", "1"]) == 0
    assert dataset.batch_size == 3 and dataset.overrides["like"] == "Dataset001_X"
    assert dataset.plan_by_run() == 0
    assert dataset.batch_size == 3
