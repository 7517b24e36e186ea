"""Running the real command on real folders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.runs import Balrsam


@pytest.fixture(scope="session")
def balrsam() -> Balrsam:
    """Run `balrsam WORDS…` in a process of its own, as a user does; `code` is the exit code that is expected."""

    def run(*words: object, code: int | None = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "balrsam_pipeline", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=600)
        if code is not None:
            assert done.returncode == code, (
                f"{' '.join(command)}\nexit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
            )
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        return done

    return run
