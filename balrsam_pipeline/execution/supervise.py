"""`python -m balrsam_pipeline.execution.supervise COMMAND…`: run a command that ends when whoever started it
does.

Standard input is a pipe that the starter holds open. When it closes, because the starter wants the command to
stop or was killed, the command gets SIGTERM (training then saves and exits with 75), and SIGKILL with its
children if that takes too long.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import FrameType

GRACE_S = 60.0


def run_attached(command: list[str], grace_s: float = GRACE_S) -> int:
    """Run `command` until it ends or standard input closes; returns its exit code (128 + the signal that
    killed it)."""
    for name in ("SIGHUP", "SIGQUIT"):  # of a terminal that closes: whoever started us dies of it, and we
        if hasattr(signal, name):  # stay to see the command save; it ignores them too
            signal.signal(signal.Signals[name], signal.SIG_IGN)
    early: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        if started:
            started[0].send_signal(number)
        else:
            early.append(number)

    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        if hasattr(signal, name):  # Windows has the first two
            signal.signal(signal.Signals[name], hand_on)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    started.append(child)
    for number in early:
        child.send_signal(number)

    def stop_when_left() -> None:
        while os.read(
            0, 4096
        ):  # unbuffered: a buffered read would hold a lock that the end of this process wants
            pass
        child.terminate()
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            _end_with_children(child)

    threading.Thread(target=stop_when_left, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _end_with_children(child: subprocess.Popen[bytes]) -> None:
    """End a process that is the first of a session, and all of that; on Windows, which has none, it alone."""
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()


if __name__ == "__main__":
    sys.exit(run_attached(sys.argv[1:]))
