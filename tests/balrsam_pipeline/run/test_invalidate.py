from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.plans import example_plan

from balrsam_pipeline.execution.lock import LOCK_NAME, folder_lock
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.run.invalidate import clear_for, remove_leftovers
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.state import StepState
from balrsam_pipeline.run.step import Step
from balrsam_pipeline.run.steps import planning_step, steps_after_planning


def dead_process() -> int:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


@pytest.fixture
def request_and_files(tmp_path: Path) -> tuple[RunRequest, dict[str, Path]]:
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    request = RunRequest(dataset=roots.raw / "D", roots=roots, folds=(0,))
    fold = request.results / "2d__balrsam" / "fold_0"
    files = {
        "array": request.preprocessed / "2d" / "a_label.b2nd",
        "properties": request.preprocessed / "2d" / "a.json",
        "other": request.preprocessed / "2d" / "b.json",
        "mask": fold / "validation" / "a.nii.gz",
        "scores": fold / "validation" / "summary.json",
        "final": fold / "checkpoint_final.safetensors",
        "latest": fold / "checkpoint_latest.safetensors",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return request, files


def damaged(step: Step, request: RunRequest, *labels: str) -> None:
    clear_for(
        step, StepState(status="stale", why="", inputs={}, damaged=labels, same_inputs=True), request.bases
    )


def left(files: dict[str, Path]) -> set[str]:
    return {name for name, path in files.items() if path.exists()}


def test_a_damaged_preprocessed_array_goes_with_what_marks_its_case_as_stored(
    request_and_files: tuple[RunRequest, dict[str, Path]],
) -> None:
    request, files = request_and_files
    damaged(planning_step(request), request, "preprocessed/2d/a_label.b2nd")
    assert set(files) - left(files) == {"array", "properties"}


def test_a_damaged_validation_mask_means_validating_again_not_training_again(
    request_and_files: tuple[RunRequest, dict[str, Path]],
) -> None:
    request, files = request_and_files
    train = steps_after_planning(request, example_plan(), (0,))[0]
    damaged(train, request, "results/2d__balrsam/fold_0/validation/a.nii.gz")
    assert set(files) - left(files) == {"mask", "scores"}


def test_damaged_final_weights_are_made_again_from_the_latest_checkpoint(
    request_and_files: tuple[RunRequest, dict[str, Path]],
) -> None:
    request, files = request_and_files
    train = steps_after_planning(request, example_plan(), (0,))[0]
    damaged(train, request, "results/2d__balrsam/fold_0/checkpoint_final.safetensors")
    assert set(files) - left(files) == {"final"}


@pytest.mark.parametrize("label", ["preprocessed/../other/a.b2nd", "preprocessed//{absolute}/other/a.b2nd"])
def test_a_record_that_was_tampered_with_removes_nothing_elsewhere(
    label: str, request_and_files: tuple[RunRequest, dict[str, Path]], tmp_path: Path
) -> None:
    request, _ = request_and_files
    marker = request.roots.preprocessed / "other" / "a.json"
    marker.parent.mkdir()
    marker.write_text("")
    damaged(planning_step(request), request, label.format(absolute=request.roots.preprocessed))
    assert marker.exists()


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    gone = [
        tmp_path / f".tmp-{dead_process()}-a.json",
        tmp_path / "deep" / LOCK_NAME,
        tmp_path / "deep" / ".tmpAbC",
    ]
    stays = [tmp_path / f".tmp-{os.getpid()}-a.json", tmp_path / "a.json"]
    for path in (*gone, *stays):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    remove_leftovers([tmp_path])
    assert [path for path in gone if path.exists()] == []
    assert [path for path in stays if not path.exists()] == []


def test_where_another_process_is_at_work_nothing_is_touched(tmp_path: Path) -> None:
    program = "import sys, pathlib; from balrsam_pipeline.execution import folder_lock\n"
    program += "with folder_lock(pathlib.Path(sys.argv[1])):\n    print(flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    other.stdout.readline()
    leftover = tmp_path / "deep" / f".tmp-{dead_process()}-a.json"
    leftover.parent.mkdir()
    leftover.write_text("")
    remove_leftovers([tmp_path])
    assert leftover.exists() and (tmp_path / LOCK_NAME).exists()
    other.communicate("")
    remove_leftovers([tmp_path])
    assert not leftover.exists()


def test_our_own_lock_stays(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "run"):
        remove_leftovers([tmp_path])
        assert (tmp_path / "run" / LOCK_NAME).exists()
