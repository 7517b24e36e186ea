"""What can befall a case besides an exception of its own: its worker is lost, or it never ends. Executors
report it with these."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor
from contextlib import contextmanager
from typing import TypeVar

from balrsam_pipeline.memory import is_want_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
SHOWN_LINES = 24  # of a stack, in a message; the whole is logged
SHORTEST_WAIT_S = 0.01  # before the time that is left of a limit is looked at again


class WorkerLost(Exception):
    """The process that worked on a case is gone: killed, out of memory, or its machine is."""


class CaseStalled(Exception):
    """A case took longer than it may; `stack` is where it stood."""

    def __init__(self, limit_s: float, stack: str) -> None:
        super().__init__(limit_s, stack)
        self.limit_s, self.stack = limit_s, stack

    def __str__(self) -> str:
        shown = self.stack.splitlines()[-SHOWN_LINES:]
        return f"not done after {self.limit_s:g} s; it stood at\n" + "\n".join(
            f"    {line}" for line in shown
        )


class CaseExecutor(Executor, ABC):
    """An executor that survives the loss of a worker, and knows how many cases it works on at once."""

    lost_attempts = 3  # how often a case may lose its worker before it is given up

    @property
    @abstractmethod
    def size(self) -> int:
        """How many cases run at once."""

    def is_lost(self, problem: BaseException) -> bool:
        """Whether `problem` says that the worker was lost, or was short of memory: reasons to try again,
        alone."""
        return isinstance(problem, WorkerLost | BrokenExecutor) or is_want_of_memory(problem)


class CaseGivenUp(Exception):
    """What ends the thread of a case that was given up; nobody listens to it any more."""


class TimeLimit:
    """How long a case may take, its waiting for others left out, and whether it was given up for that."""

    def __init__(self, seconds: float) -> None:
        """Begin to count; `seconds` may be spent."""
        self._seconds = seconds
        self._lock = threading.Lock()
        self._ends = time.monotonic() + seconds
        self._paused_at: float | None = None
        self._given_up = False

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for the case any more."""
        return self._given_up

    def left_s(self) -> float:
        """The seconds that are left."""
        with self._lock:
            return self._ends - (time.monotonic() if self._paused_at is None else self._paused_at)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count the time that the block takes."""
        began = time.monotonic()
        with self._lock:
            self._paused_at = began
        try:
            yield
        finally:
            with self._lock:
                self._ends += time.monotonic() - began
                self._paused_at = None

    def require_wanted(self) -> None:
        """End the thread of a case that was given up: called before it takes what others wait for, and before
        it writes.

        Raises:
            CaseGivenUp: it was.
        """
        if self._given_up:
            raise CaseGivenUp

    def run(self, function: Callable[[], Result]) -> Result:
        """Run `function()` in a thread of its own and stop waiting when no time is left; the thread itself
        cannot be stopped.

        Raises:
            CaseStalled: it was not done in time.
        """
        outcome: list[Result] = []
        problems: list[BaseException] = []

        def work() -> None:
            try:
                outcome.append(function())
            except BaseException as problem:  # handed to the waiting thread, which raises it
                problems.append(problem)

        thread = threading.Thread(target=work, name="case", daemon=True)
        thread.start()
        while thread.is_alive() and (left := self.left_s()) > 0:
            thread.join(max(left, SHORTEST_WAIT_S))
        if thread.is_alive():
            self._given_up = True
            frame = sys._current_frames().get(thread.ident or 0)
            raise CaseStalled(self._seconds, "".join(traceback.format_stack(frame)) if frame else "")
        if problems:
            raise problems[0]
        return outcome[0]


def run_with_limit(function: Callable[[Item], Result], item: Item, limit_s: float) -> Result:
    """Run `function(item)` in a thread of its own and stop waiting after `limit_s` seconds; the thread itself
    cannot be stopped.

    Raises:
        CaseStalled: it was not done in time.
    """
    return TimeLimit(limit_s).run(lambda: function(item))
