"""Being asked to stop: SIGTERM, SIGINT and SIGUSR1 end the step, save, and exit with a code a scheduler can
requeue on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from balrsam_pipeline.errors import STOPPED, TrainingError

NAMES = ("SIGTERM", "SIGINT", "SIGUSR1")  # Windows has the first two
SIGNALS = tuple(signal.Signals[name] for name in NAMES if hasattr(signal, name))
SAME_WITHIN_S = 2.0  # signals of a kind that come so close are one


class TrainingStopped(TrainingError):
    """Training was asked to stop and saved; the same command goes on. Exit code 75 (EX_TEMPFAIL: try
    again)."""

    exit_code = STOPPED


class _Stop(BaseException):
    """A signal came; no error, so that nothing takes it for one of a case."""


@contextmanager
def stop_before_training() -> Iterator[None]:
    """End at once, with 75, when SIGTERM or SIGUSR1 comes: around all that a training command does but its
    loop, which notes signals instead (`stop_on_signals`).

    Raises:
        TrainingStopped: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stop(signal.Signals(number).name)

    former = {number: signal.signal(number, stop) for number in SIGNALS if number != signal.SIGINT}
    try:
        yield
    except _Stop as stopped:
        raise TrainingStopped(
            "training",
            found=f"{stopped}",
            expected="to train and validate to the end",
            fix="run the same command again: it goes on from what is saved (exit code 75 asks a scheduler to "
            "do so)",
        ) from None
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


class StopRequest:
    """Whether a signal has come, and which."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note the first signal instead of dying of it; a second one of the same kind acts as it always did,
    unless it comes at once: schedulers and launchers send the same signal to a process, each by itself."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may install handlers
        return
    former, noted_at = {number: signal.getsignal(number) for number in SIGNALS}, dict[int, float]()

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_name, now = signal.Signals(number).name, time.monotonic()
        if now - noted_at.setdefault(number, now) > SAME_WITHIN_S:
            signal.signal(number, former[signal.Signals(number)])
            signal.raise_signal(number)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
