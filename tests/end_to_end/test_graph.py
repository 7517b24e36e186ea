"""A finished run moved elsewhere, damaged, looked at and run again; two runs on one dataset at once."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from support.chaos import Job, Undisturbed, outcome
from support.runs import Balrsam, roots, stray_files

RESULTS = Path("results/Dataset999_Demo")


@pytest.fixture
def finished(undisturbed: Undisturbed, tmp_path: Path) -> Path:
    """A copy of a finished run."""
    shutil.copytree(undisturbed.folder, tmp_path / "copy")
    (tmp_path / "copy" / "output.txt").unlink()
    return tmp_path / "copy"


def ask(balrsam: Balrsam, job: Job, folder: Path, *words: str) -> str:
    """The output of `balrsam WORDS` on the job's dataset."""
    where = (f"--raw={job.raw}", *roots(folder)[1:])
    return balrsam(words[0], "999", *where, *words[1:]).stdout


def test_status_and_dry_run_show_a_finished_run_as_done_wherever_it_was_moved(
    finished: Path, job: Job, balrsam: Balrsam
) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    lines = ask(balrsam, job, finished, "status").splitlines()
    assert lines[0] == "Dataset999_Demo: nothing is going on"
    steps = [line for line in lines[1:] if line.split()[0] == "done"]  # long lines go on below
    assert [line.split()[:2] for line in steps] == [
        ["done", name]
        for name in (
            "prepare",
            "train_2d_fold_0",
            "crossval_2d",
            "find_best_configuration",
            "predict",
            "evaluate",
        )
    ]
    assert "Dice 0." in " ".join(lines)
    planned = ask(balrsam, job, finished, "run", "--dry-run", *job.words).splitlines()
    assert planned[0].startswith("folders of every command: --raw ")
    assert [line.split()[0] for line in planned[1:]] == ["done"] * 6
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before, (
        "looking changes nothing"
    )


def test_only_what_was_damaged_is_made_again(
    finished: Path, undisturbed: Undisturbed, job: Job, balrsam: Balrsam
) -> None:
    mask = next((finished / RESULTS / "2d__balrsam/fold_0/validation").glob("*.nii.gz"))
    content, status = bytearray(mask.read_bytes()), mask.stat()
    content[-9] ^= 1  # inside the checksum: a careful reader would notice, a size and a date would not
    mask.write_bytes(content)
    os.utime(mask, ns=(status.st_atime_ns, status.st_mtime_ns))
    (finished / RESULTS / "predictions" / "dataset.json").unlink()
    kept = [
        finished / RESULTS / "2d__balrsam/fold_0/checkpoint_final.safetensors",
        finished / "preprocessed/Dataset999_Demo/plan.json",
    ]
    times = [path.stat().st_mtime_ns for path in kept]
    planned = ask(balrsam, job, finished, "run", "--dry-run", *job.words)
    assert (
        f"stale        train_2d_fold_0: results/2d__balrsam/fold_0/validation/{mask.name} was changed"
        in planned
    )
    assert "stale        predict: results/predictions/dataset.json is gone" in planned
    assert "time: about" in planned
    assert job.finish(finished) == 0
    assert [path.stat().st_mtime_ns for path in kept] == times, "nothing was trained or planned again"
    assert outcome(finished, undisturbed.folder) == undisturbed.outcome


def test_other_settings_are_refused_by_training_and_name_what_changed(
    finished: Path, job: Job, balrsam: Balrsam
) -> None:
    words = [word if word != "3" else "4" for word in job.words]
    assert "stale        train_2d_fold_0: --epochs 3 -> 4" in ask(
        balrsam, job, finished, "run", "--dry-run", *words
    )
    where = (f"--raw={job.raw}", *roots(finished)[1:])
    assert "--accept-changed-settings" in balrsam("run", "999", *where, *words, code=2).stderr
    assert "failed       train_2d_fold_0" in ask(balrsam, job, finished, "status")


def test_of_two_runs_at_once_one_is_refused_one_waits_and_none_corrupts(
    job: Job, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    first = job.start(folder)
    lock = folder / RESULTS / "run" / ".balrsam.lock"
    deadline = time.monotonic() + 60
    while not (lock.exists() and lock.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    second = job.start(folder)
    third = job.with_words("--wait").start(folder)
    assert second.wait(timeout=300) == 2
    assert (first.wait(timeout=300), third.wait(timeout=300)) == (0, 0)
    said = (folder / "output.txt").read_text()
    assert "Traceback" not in said
    assert f"in use by another balrsam: pid {first.pid} on" in said
    assert f"waiting for pid {first.pid}" in said
    assert said.count("already done") >= 6, "the one that waited found all done"
    assert stray_files(folder) == []
    assert outcome(folder) == undisturbed.outcome
