"""Functions for workers that misbehave; in a module of their own, so that workers of a cluster can import
them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def square(value: int) -> int:
    """Raises for 3."""
    if value == 3:
        raise ValueError("three")
    return value * value


def die_if_one(value: int) -> int:
    """Kills its process for 1."""
    if value == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def die_once(task: tuple[int, Path]) -> int:
    """Kills its process for 1, the first time."""
    value, folder = task
    if value == 1 and not (folder / "died").exists():
        (folder / "died").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def sleep_if_one(value: int) -> int:
    """Sleeps for a minute for 1."""
    if value == 1:
        time.sleep(60)
    return value


def sleep_a_while(seconds: float) -> float:
    """Takes so long."""
    time.sleep(seconds)
    return seconds
