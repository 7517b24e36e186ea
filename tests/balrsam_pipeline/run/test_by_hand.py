"""What `balrsam run` does with a plan that was made by hand: it keeps it."""

from __future__ import annotations

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
    assert dataset.plan_by_run() == 2
    assert "--batch-size 3" in capsys.readouterr().err
    assert dataset.overrides == {"batch_size": "3"}


def test_a_plan_for_a_gpu_is_kept_where_there_is_none(dataset: Dataset) -> None:
    dataset.plan_by_hand("--gpu-memory-gb", "8", "--backbone", "vit_mini", "--configurations", "2d")
    assert dataset.plan_by_run() == 0
    assert read_plan(dataset.request.planned.plan).gpu_memory_gb == 8
