"""Being asked to stop: SIGTERM, SIGINT and SIGUSR1 end the step, save, and exit with a code a scheduler can
requeue on."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
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


class _FormerHandlers:
    """Handlers that a process had, which act on a signal that came before, unless it comes again at once:
    schedulers and launchers send the same signal to a process, each by itself."""

    def __init__(self, numbers: Sequence[signal.Signals]) -> None:
        self.handlers = {number: signal.getsignal(number) for number in numbers}
        self.came_at: dict[int, float] = {}

    def act_on_repeated(self, number: int) -> None:
        """Note a signal; let the former handler act on one noted a while ago."""
        now = time.monotonic()
        if now - self.came_at.setdefault(number, now) > SAME_WITHIN_S:
            signal.signal(number, self.handlers[signal.Signals(number)])
            signal.raise_signal(number)

    def restore(self) -> None:
        """Put them back."""
        for number, handler in self.handlers.items():
            signal.signal(number, handler)


@contextmanager
def stop_before_training() -> Iterator[None]:
    """End at once, with 75, when SIGTERM or SIGUSR1 comes: around all that a training command does but its
    loop, which notes signals instead (`stop_on_signals`). Then they stay handled, since the process ends.

    Raises:
        TrainingStopped: a signal came.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    former = _FormerHandlers([number for number in SIGNALS if number != signal.SIGINT])

    def stop(number: int, frame: FrameType | None) -> None:
        first = not former.came_at
        former.act_on_repeated(number)
        if first:
            raise _Stop(signal.Signals(number).name)

    for number in former.handlers:
        signal.signal(number, stop)
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
        if not former.came_at:
            former.restore()


class StopRequest:
    """Whether a signal has come, and which."""

    def __init__(self) -> None:
        self.signal_name: str | None = None

    def __bool__(self) -> bool:
        return self.signal_name is not None


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Note the first signal instead of dying of it; a later one of the same kind acts as it always did."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may install handlers
        return
    former = _FormerHandlers(SIGNALS)

    def note(number: int, frame: FrameType | None) -> None:
        request.signal_name = signal.Signals(number).name
        former.act_on_repeated(number)

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        former.restore()
