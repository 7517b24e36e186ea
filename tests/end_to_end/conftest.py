"""Running the real command on real folders."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.chaos import Job, Undisturbed, names, outcome
from support.runs import Balrsam

from balrsam_pipeline.demo import DemoSize, generate_dataset


@pytest.fixture(scope="session")
def balrsam() -> Balrsam:
    """Run `balrsam WORDS…` in a process of its own, as a user does; `code` is the exit code that is
    expected."""

    def run(
        *words: object, code: int | None = 0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "balrsam_pipeline", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)
        if code is not None:
            assert done.returncode == code, (
                f"{' '.join(command)}\nexit code "
                f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done

    return run


@pytest.fixture(scope="session")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Five training cases, one fold, three epochs of four steps: what is counted in steps, not in minutes,
    can be compared to the bit."""
    folder = tmp_path_factory.mktemp("job")
    generate_dataset(folder / "raw", DemoSize(training_cases=5, test_cases=2, shape_zyx=(6, 32, 32)))
    (folder / "settings.json").write_text(
        json.dumps({"steps_per_epoch": 4, "quick_validation_patches": 4, "save_every_s": 0})
    )
    choices = ("--configurations", "2d", "--folds", "0", "--epochs", "3", "--device", "cpu", "--workers", "2")
    return Job(folder / "raw", (*choices, "--settings", str(folder / "settings.json")))


@pytest.fixture(scope="session")
def undisturbed(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """`job` with nothing happening to it."""
    folder, started = tmp_path_factory.mktemp("undisturbed"), time.monotonic()
    assert job.finish(folder) == 0, (folder / "output.txt").read_text()[-3000:]
    return Undisturbed(folder, outcome(folder), names(folder), time.monotonic() - started)
