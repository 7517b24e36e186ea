"""An executor over local processes that loses no more than one case when a process dies.

The standard ProcessPoolExecutor gives up altogether when one of its processes is killed. Here every process
has a pipe and
a thread of its own: the thread sees which case died, starts another process, and the other cases never
notice. The same thread ends a process that works on one case for too long, after `faulthandler` has written
down where it stood.
"""

from __future__ import annotations

import faulthandler
import logging
import shutil
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from balrsam_pipeline.execution.failures import CaseExecutor, CaseStalled, WorkerLost
from balrsam_pipeline.execution.fork_server import hear_stops
from balrsam_pipeline.execution.hidden_main import hidden_main

LOG = logging.getLogger(__name__)
DUMP_GRACE_S = 1.0  # for faulthandler to write before the process is killed
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Call:
    future: Future[Any]
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class ProcessExecutor(CaseExecutor):
    """`size` processes, started as they are needed, computing with one thread each."""

    def __init__(self, size: int, context: BaseContext, limit_s: float | None = None) -> None:
        """Remember how; processes start with the first cases.

        Args:
            limit_s: seconds that one call may take; its process is killed then, and it ends with CaseStalled.
        """
        self._size, self._context, self._limit_s = size, context, limit_s
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._stacks = Path(tempfile.mkdtemp(prefix="balrsam-stacks-")) if limit_s is not None else None

    @property
    def size(self) -> int:
        """The number of processes."""
        return self._size

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a process call `fn(*args)`; functions and arguments travel by name and value, keyword
        arguments do not."""
        if kwargs:
            raise TypeError("keyword arguments: use functools.partial")
        future: Future[T] = Future()
        self._calls.put(_Call(future, fn, args))
        if len(self._threads) < self._size:
            thread = threading.Thread(
                target=self._serve, args=(len(self._threads),), name="worker", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes when they have done what was submitted, or (`cancel_futures`) only what they are
        at."""
        if cancel_futures:
            try:
                while (call := self._calls.get_nowait()) is not None:
                    call.future.cancel()
            except Empty:
                pass
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()
            if self._stacks is not None:
                shutil.rmtree(self._stacks, ignore_errors=True)

    def _serve(self, number: int) -> None:
        stack = self._stacks / f"{number}.txt" if self._stacks is not None else None
        worker: _Worker | None = None
        while (call := self._calls.get()) is not None:
            if not call.future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None:
                    with self._starting, hidden_main(call.function):
                        worker = _Worker(self._context, self._limit_s, stack)
                value = worker.call(call)
            except (WorkerLost, CaseStalled) as problem:
                worker = None
                call.future.set_exception(problem)
            except BaseException as problem:  # whatever the call raised belongs to whoever waits for it
                call.future.set_exception(problem)
            else:
                call.future.set_result(value)
        if worker is not None:
            worker.end()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, context: BaseContext, limit_s: float | None, stack: Path | None) -> None:
        self._limit_s, self._stack = limit_s, stack
        self._pipe, other = context.Pipe()
        self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_work, args=(other, limit_s, stack), name="balrsam-worker", daemon=True
        )
        self._process.start()
        other.close()

    def call(self, call: _Call) -> Any:
        try:
            self._pipe.send((call.function, call.arguments))
        except (BrokenPipeError, ConnectionError):  # it died between two cases
            raise self._lost() from None
        limit_s = None if self._limit_s is None else self._limit_s + DUMP_GRACE_S
        try:
            if not self._pipe.poll(limit_s):
                raise self._stalled()
            succeeded, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise self._lost() from None
        if not succeeded:
            raise value
        return value

    def end(self) -> None:
        self._pipe.close()
        self._process.join()

    def _lost(self) -> WorkerLost:
        self.end()
        return WorkerLost(f"exit code {self._process.exitcode}")

    def _stalled(self) -> CaseStalled:
        self._process.kill()
        self.end()
        stack = (
            self._stack.read_text(encoding="utf-8", errors="replace")
            if self._stack is not None and self._stack.is_file()
            else ""
        )
        LOG.warning("a worker was stopped after %g s; where it stood:\n%s", self._limit_s, stack)
        return CaseStalled(self._limit_s or 0.0, _main_thread_of(stack))


def _main_thread_of(stack: str) -> str:
    """The last thread of a dump of faulthandler, which is the one that works; turned round, so that the last
    call stands last."""
    _, *calls = stack.split("\n\n")[-1].strip().splitlines() or [""]
    return "\n".join(line.strip() for line in reversed(calls))


def _work(pipe: Connection, limit_s: float | None, stack: Path | None) -> None:
    """What a worker process does: calls until the other end of the pipe is closed, by whatever cause."""
    hear_stops()
    with threadpool_limits(1):
        while True:
            try:
                function, arguments = pipe.recv()
            except (EOFError, ConnectionError, KeyboardInterrupt):
                return
            except Exception as problem:  # arguments that cannot be rebuilt here
                answer: tuple[bool, Any] = (False, problem)
            else:
                answer = _call(function, arguments, limit_s, stack)
            try:
                pipe.send(answer)
            except (BrokenPipeError, ConnectionError):
                return
            except Exception as problem:  # a result or an exception that cannot travel
                pipe.send(
                    (False, RuntimeError(f"{type(problem).__name__}: {problem}, sending {answer[1]!r}"))
                )


def _call(
    function: Callable[..., Any], arguments: tuple[Any, ...], limit_s: float | None, stack: Path | None
) -> tuple[bool, Any]:
    try:
        if limit_s is None or stack is None:
            return True, function(*arguments)
        with stack.open("w", encoding="utf-8") as file:
            faulthandler.dump_traceback_later(limit_s, file=file)
            try:
                return True, function(*arguments)
            finally:
                faulthandler.cancel_dump_traceback_later()
    except BaseException as problem:  # KeyboardInterrupt too: the caller decides what it means
        return False, problem
