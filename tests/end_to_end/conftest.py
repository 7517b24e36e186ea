"""Running the real command on real folders."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest
from support.chaos import Job, Undisturbed, names, outcome
from support.runs import Balrsam
from support.shared import made_once
from support.warm import WarmPython

from balrsam_pipeline.demo import DemoSize, generate_dataset


@pytest.fixture(scope="session")
def balrsam(warm_python: WarmPython) -> Balrsam:
    """Run `balrsam WORDS…` in a process of its own, as a user does; `code` is the exit code that is
    expected."""

    def run(
        *words: object, code: int | None = 0, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = warm_python.run(*words, cwd=cwd)
        if code is not None:
            assert done.returncode == code, (
                f"{' '.join(done.args)}\nexit code "
                f"{done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done

    return run


@pytest.fixture(scope="session")
def job(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Five training cases, one fold, three epochs of four steps: what is counted in steps, not in minutes,
    can be compared to the bit."""
    folder = made_once(tmp_path_factory, "job", _prepare)
    choices = ("--configurations", "2d", "--folds", "0", "--epochs", "3", "--device", "cpu", "--workers", "1")
    return Job(warm_python, folder / "raw", (*choices, "--settings", str(folder / "settings.json")))


def _prepare(folder: Path) -> None:
    generate_dataset(folder / "raw", DemoSize(training_cases=5, test_cases=2, shape_zyx=(6, 32, 32)))
    (folder / "settings.json").write_text(
        json.dumps({"steps_per_epoch": 4, "quick_validation_patches": 4, "save_every_s": 0})
    )


@pytest.fixture(scope="session")
def undisturbed(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """`job` with nothing happening to it."""

    def run(folder: Path) -> None:
        job.python.begin()
        started = time.monotonic()
        assert job.finish(folder / "run") == 0, (folder / "run" / "output.txt").read_text()[-3000:]
        (folder / "seconds").write_text(str(time.monotonic() - started))

    folder = made_once(tmp_path_factory, "undisturbed", run)
    seconds = float((folder / "seconds").read_text())
    return Undisturbed(folder / "run", outcome(folder / "run"), names(folder / "run"), seconds)
