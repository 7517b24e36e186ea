"""A run whose processes are killed at random moments, and one on a full disk, end as if nothing had
happened."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.chaos import Job, Undisturbed, kill_one, names, outcome
from support.runs import stray_files

BY_CHANCE = (
    "checkpoint_previous.safetensors",
    "hashes.json",
)  # whether they are there depends on when things happened

OF_TWO = ("--workers", "2")  # the undisturbed run has one process


def survive(job: Job, undisturbed: Undisturbed, folder: Path, kills: int, chance: random.Random) -> list[str]:
    """Kill so many times; whenever a run comes to its end, compare it with the undisturbed one and begin
    anew."""
    killed: list[str] = []
    job = job.with_words(*OF_TWO)
    while True:
        run = job.start(folder)
        kind = kill_one(run, undisturbed.seconds, chance) if len(killed) < kills else None
        if kind is not None:
            killed.append(kind)
            print(f"killed {len(killed)} of {kills}: {kind}", flush=True)
            if run.returncode != 0:
                continue
        assert run.wait(timeout=600) == 0, (folder / "output.txt").read_text()[-3000:]
        assert "Traceback" not in (folder / "output.txt").read_text()
        assert stray_files(folder) == []
        assert {name for name in names(folder) ^ undisturbed.names if not name.endswith(BY_CHANCE)} == set()
        assert outcome(folder) == undisturbed.outcome
        if len(killed) >= kills:
            return killed
        shutil.rmtree(folder)


def test_a_run_killed_twice_ends_like_an_undisturbed_one(
    job: Job, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    assert len(survive(job, undisturbed, tmp_path / "run", 2, random.Random(8))) == 2


@pytest.mark.slow
def test_runs_killed_thirty_times_end_like_an_undisturbed_one(
    job: Job, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    seed = int(time.time())
    print("seed", seed)
    killed = survive(job, undisturbed, tmp_path / "run", 30, random.Random(seed))
    assert {"main", "other"} <= set(killed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with little room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", folder], capture_output=True
    )
    if not mounted or mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (that takes root and CAP_SYS_ADMIN)")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_is_named_and_with_room_the_run_ends_like_an_undisturbed_one(
    job: Job, undisturbed: Undisturbed, small_disk: Path
) -> None:
    folder, job = small_disk / "run", job.with_words(*OF_TWO)
    assert job.finish(folder) == 2
    said = (folder / "output.txt").read_text()
    assert "Traceback" not in said
    assert "disk is full" in said or "No space left" in said
    assert "room" in said or "free some space" in said
    assert "run the same command" in said.replace("Run the same command", "run the same command")
    subprocess.run(["mount", "-o", "remount,size=500m", small_disk], check=True)
    assert job.finish(folder) == 0, (folder / "output.txt").read_text()[-3000:]
    assert stray_files(folder) == []
    assert outcome(folder) == undisturbed.outcome
