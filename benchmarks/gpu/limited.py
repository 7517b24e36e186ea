"""A process with a time limit, ended with all that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

GRACE_S = 8.0  # between asking to end and ending by force: torchrun ends its own processes when it is asked


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code (None: the limit was reached), and what it wrote."""

    code: int | None
    output: str
    errors: str


def run_python(words: Sequence[str], limit_s: float, *, with_children: bool = True) -> Ended:
    """Run this Python with `words`; at the limit it is ended, by force if need be.

    Args:
        with_children: end its children too, unless they made groups of their own; they are a group apart from
            this process then. Without, it stays in this process's group and ends with that.
    """
    process = subprocess.Popen(
        (sys.executable, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=with_children,
    )
    try:
        output, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        output, errors = _end(process, with_children=with_children)
        return Ended(None, output, f"{errors}\nstopped after {limit_s:.0f} s")
    return Ended(process.returncode, output, errors)


def _end(process: subprocess.Popen[str], *, with_children: bool) -> tuple[str, str]:
    send = os.killpg if with_children else os.kill
    send(process.pid, signal.SIGTERM)
    try:
        return process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        send(process.pid, signal.SIGKILL)
    try:
        return process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:  # something that it started still holds its output open
        return "", ""
