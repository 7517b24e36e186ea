"""A command that is attached to whoever started it ends with it, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SAVES = (
    "import pathlib, signal, sys, time\n"
    "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path(sys.argv[2]).touch(), sys.exit(75)))\n"
    "pathlib.Path(sys.argv[1]).touch()\n"
    "time.sleep(60)\n"
)


@pytest.mark.parametrize("name", ["SIGHUP", "SIGQUIT", ""])
def test_a_command_saves_when_its_starter_is_gone(name: str, tmp_path: Path) -> None:
    """A terminal that closes sends SIGHUP to all of its group: the starter dies, so the pipe closes."""
    begun, saved = tmp_path / "begun", tmp_path / "saved"
    attached = [sys.executable, "-m", "balrsam_pipeline.execution.supervise"]
    process = subprocess.Popen(
        [*attached, sys.executable, "-c", SAVES, str(begun), str(saved)],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    until = time.monotonic() + 60
    while not begun.exists() and time.monotonic() < until:
        time.sleep(0.01)
    if name:
        os.killpg(process.pid, signal.Signals[name])
        time.sleep(0.2)
        assert process.poll() is None and not saved.exists()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(30) == 75
    assert saved.exists()


ASKED_AT_ONCE = """
import signal, subprocess, sys
started = subprocess.Popen
def asked(*words, **options):
    process = started(*words, **options)
    signal.raise_signal(signal.SIGTERM)
    return process
subprocess.Popen = asked
from balrsam_pipeline.execution.supervise import run_attached
sys.exit(run_attached([sys.executable, "-c", "import time; time.sleep(20)"]))
"""


def test_a_stop_while_the_command_starts_reaches_it() -> None:
    """Nobody hears of a command whose supervisor has died of the signal: it would train on, unseen."""
    script = subprocess.Popen([sys.executable, "-c", ASKED_AT_ONCE], stdin=subprocess.PIPE)
    assert script.wait(60) == 128 + signal.SIGTERM
