"""Several ranks as one command: which signals reach them, and which exit code comes out. Trainings:
tests/trainers/test_processes.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCH = "import sys; from balrsam_pipeline.execution.launch import launch; "
BEGUN = "import os, pathlib, signal, sys, time\nrank = os.environ['RANK']\n"
# a rank that saves when it is asked to, which takes the first one longer, and waits until then
SAVES = (
    BEGUN + "def save(*_):\n    time.sleep(0 if rank == '1' else 1)\n    sys.exit(75)\n"
    "signal.signal(signal.Signals[sys.argv[2]], save)\npathlib.Path(sys.argv[1], rank).touch()\n"
    "time.sleep(60)\n"
)


def started(code: str, *words: str) -> subprocess.Popen[bytes]:
    """Two ranks that run `code`, in a process group of their own."""
    command = [sys.executable, "-c", code, *words]
    script = f"{LAUNCH} sys.exit(launch({command!r}, 2))"
    return subprocess.Popen([sys.executable, "-c", script], start_new_session=True)


def wait_for(folder: Path, names: tuple[str, ...] = ("0", "1")) -> None:
    until = time.monotonic() + 60
    while not all((folder / name).exists() for name in names) and time.monotonic() < until:
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGINT"])
def test_ranks_save_when_their_launcher_s_group_is_asked_to_stop(name: str, tmp_path: Path) -> None:
    process = started(SAVES, str(tmp_path), name)
    wait_for(tmp_path)
    os.killpg(process.pid, signal.Signals[name])
    assert process.wait(60) == 75


def test_ranks_know_of_each_other_and_end_well() -> None:
    code = "e = os.environ\nassert e['MASTER_PORT'] and e['WORLD_SIZE'] == '2' and e['LOCAL_RANK'] == rank\n"
    assert started(BEGUN + code).wait(60) == 0


def test_a_dead_rank_ends_the_others_with_its_code(tmp_path: Path) -> None:
    dies = BEGUN + "if rank == '1': os.kill(os.getpid(), signal.SIGKILL)\n"
    waits = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\ntime.sleep(60)\n"
    began = time.monotonic()
    assert started(dies + waits).wait(60) == 128 + signal.SIGKILL
    assert time.monotonic() - began < 50


def test_ranks_that_part_from_one_that_validates_are_no_failure(tmp_path: Path) -> None:
    code = BEGUN + "time.sleep(0 if rank == '1' else 2)\npathlib.Path(sys.argv[1], rank).touch()\n"
    assert started(code, str(tmp_path)).wait(60) == 0
    assert (tmp_path / "0").exists()


def test_ranks_save_when_their_launcher_is_killed(tmp_path: Path) -> None:
    code = SAVES.replace(
        "sys.exit(75)", "pathlib.Path(sys.argv[1], 'saved' + rank).touch()\n    sys.exit(75)"
    )
    process = started(code, str(tmp_path), "SIGTERM")
    wait_for(tmp_path)
    process.kill()
    process.wait()
    wait_for(tmp_path, ("saved0", "saved1"))
    assert (tmp_path / "saved0").exists() and (tmp_path / "saved1").exists()


def test_a_signal_that_a_rank_cannot_hear_yet_is_a_stop(tmp_path: Path) -> None:
    process = started(BEGUN + "pathlib.Path(sys.argv[1], rank).touch()\ntime.sleep(60)\n", str(tmp_path))
    wait_for(tmp_path)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(60) == 75


@pytest.mark.parametrize("count", ["0", "-1"])
def test_no_process_at_all_is_an_error_and_no_stop(count: str) -> None:
    """As 75 a scheduler would put it into its queue for good."""
    words = ["--processes", count, "--", "train", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "balrsam_pipeline.execution.launch", *words], capture_output=True, text=True
    )
    assert done.returncode == 2 and "expected 1 or more" in done.stderr
