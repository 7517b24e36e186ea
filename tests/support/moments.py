"""Killing a command at an exact moment: just before its n-th change of the file system.

The command runs in a process forked from one that has loaded everything already (`moments_server`), so
that a kill takes a fraction of a second. Python announces every change (PEP 578); what libraries write by
themselves goes to temporary files, and the renames that matter are Python's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: by which signal), and the changes it had made."""

    code: int
    changes: int


class Stage:
    """Where commands are run; one server for all of them."""

    def __init__(self) -> None:
        environment = os.environ | {
            "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "support.moments_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, words: Sequence[str], folder: Path, moment: int = 0, by: int = signal.SIGKILL) -> Ended:
        """Run a command of balrsam in `folder`, what it says in output.txt; send it the signal `by` before
        its change number `moment`.

        Args:
            moment: from 1; 0 lets it run to its end.
        """
        assert self._server.stdin is not None and self._server.stdout is not None
        request = {"words": list(words), "folder": str(folder), "moment": moment, "by": int(by)}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return Ended(**json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(timeout=60)
