"""A process with a time limit, ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code (None: the limit was reached), and what it wrote."""

    code: int | None
    output: str
    errors: str


def run_python(words: Sequence[str], limit_s: float) -> Ended:
    """Run this Python with `words`; at the limit it and its children are killed."""
    process = subprocess.Popen(
        (sys.executable, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, errors = process.communicate()
        return Ended(None, output, f"{errors}\nstopped after {limit_s:.0f} s")
    return Ended(process.returncode, output, errors)
