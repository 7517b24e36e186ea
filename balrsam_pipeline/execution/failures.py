"""What can befall a case besides an exception of its own: its worker is lost, or it never ends. Executors
report it with these."""

from __future__ import annotations

import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor
from typing import TypeVar

from balrsam_pipeline.memory import is_want_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
SHOWN_LINES = 24  # of a stack, in a message; the whole is logged


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


def run_with_limit(function: Callable[[Item], Result], item: Item, limit_s: float) -> Result:
    """Run `function(item)` in a thread of its own and stop waiting after `limit_s` seconds; the thread itself
    cannot be stopped.

    Raises:
        CaseStalled: it was not done in time.
    """
    outcome: list[Result] = []
    problems: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(function(item))
        except BaseException as problem:  # handed to the waiting thread, which raises it
            problems.append(problem)

    thread = threading.Thread(target=work, name="case", daemon=True)
    thread.start()
    thread.join(limit_s)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        raise CaseStalled(limit_s, "".join(traceback.format_stack(frame)) if frame else "")
    if problems:
        raise problems[0]
    return outcome[0]
