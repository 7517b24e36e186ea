"""Doing the same thing to many cases over any `concurrent.futures.Executor`: failures are collected, the
others finish.

A case whose worker is lost (killed, out of memory, its machine gone) is tried again when all others are done,
alone, so that it has the machine to itself and harms no other case. One that loses its worker every time is
given up and named.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from balrsam_pipeline.errors import BalrsamError, ClusterError
from balrsam_pipeline.execution.failures import CaseExecutor, CaseStalled, WorkerLost
from balrsam_pipeline.memory import is_want_of_memory, want_of_memory

LOG = logging.getLogger(__name__)
Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING_PER_WORKER = 2  # submitted ahead, so that workers never idle and memory stays bounded


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one case: a `value`, or the `error` that stopped it."""

    case: str
    value: Result | None
    error: BalrsamError | None


@contextmanager
def case_threads(workers: int) -> Iterator[Executor]:
    """Threads for cases, one each; when the block is left by an exception (Ctrl-C) cases that wait do not
    begin any more, and those that are being worked on end."""
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="case") as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def run_cases(
    function: Callable[[Item], Result],
    items: Mapping[str, Item],
    executor: Executor | None,
    workers: int,
    error: type[BalrsamError] = BalrsamError,
) -> Iterator[Outcome[Result]]:
    """Yield the outcome of `function(item)` for every case, in the order in which they finish.

    Args:
        function: a module-level function, so that it can travel to another process.
        items: case name -> argument.
        executor: where to run; None runs here, one after the other.
        workers: how many run at once, which bounds how many are submitted ahead; an executor that knows its
            size goes by that.
        error: the class that unexpected exceptions are reported as; a BalrsamError passes as it is.

    Raises:
        ClusterError: the cluster as a whole is gone.
    """
    if executor is None:
        for case, item in items.items():
            yield _outcome(case, lambda item=item: function(item), error)  # type: ignore[misc]
        return
    lost: list[str] = []
    pending: dict[Future[Result], str] = {}
    for case, item in items.items():
        try:
            pending[executor.submit(function, item)] = case
        except BrokenExecutor as problem:
            yield Outcome(case, None, _unexpected(case, problem, error))
        size = executor.size if isinstance(executor, CaseExecutor) else workers
        if len(pending) >= size * WAITING_PER_WORKER:
            yield from _finished(pending, executor, lost, error)
    while pending:
        yield from _finished(pending, executor, lost, error)
    for case in lost:
        yield _alone(case, function, items[case], executor, error)


def _finished(
    pending: dict[Future[Result], str], executor: Executor, lost: list[str], error: type[BalrsamError]
) -> Iterator[Outcome[Result]]:
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        case = pending.pop(future)
        if _is_lost(future, executor):
            LOG.warning(
                "case %s: %s; to be tried again, alone, when the others are done", case, _in_words(future)
            )
            lost.append(case)
        else:
            yield _outcome(case, future.result, error)


def _alone(
    case: str, function: Callable[[Item], Result], item: Item, executor: Executor, error: type[BalrsamError]
) -> Outcome[Result]:
    """The last attempts of a case that lost its worker once."""
    attempts = executor.lost_attempts if isinstance(executor, CaseExecutor) else 1
    future = executor.submit(function, item)
    for attempt in range(2, attempts):
        wait([future])
        if not _is_lost(future, executor):
            break
        LOG.warning("case %s: %s, at attempt %d of %d", case, _in_words(future), attempt, attempts)
        future = executor.submit(function, item)
    return _outcome(case, future.result, error)


def _is_lost(future: Future[Result], executor: Executor) -> bool:
    problem = None if future.cancelled() else future.exception()
    return problem is not None and isinstance(executor, CaseExecutor) and executor.is_lost(problem)


def _in_words(future: Future[Result]) -> str:
    problem = future.exception()
    return f"{type(problem).__name__}: {problem}"


def _outcome(case: str, compute: Callable[[], Result], error: type[BalrsamError]) -> Outcome[Result]:
    try:
        return Outcome(case, compute(), None)
    except ClusterError:
        raise
    except BalrsamError as problem:
        _clear_frames(problem)
        return Outcome(case, None, problem)
    except Exception as problem:  # one case must not stop the others; the error is reported with the case
        return Outcome(case, None, _unexpected(case, problem, error))


def _clear_frames(problem: BaseException) -> None:
    """Let go of what a failed case held, its image and logits: outcomes are kept until the run ends, and with
    an error the frames of its traceback and of those that led to it."""
    each: BaseException | None = problem
    while each is not None:
        traceback.clear_frames(each.__traceback__)
        each = each.__cause__ or each.__context__


def _unexpected(case: str, problem: BaseException, error: type[BalrsamError]) -> BalrsamError:
    found, fix = f"{type(problem).__name__}: {problem}", "check this case's files: balrsam verify DATASET"
    if isinstance(problem, WorkerLost | BrokenExecutor):
        found = (
            "a worker process died of it every time (killed by the system, often for want of memory; "
            f"{problem})"
        )
        fix = "give it more memory, or leave this case out; the others are done"
    elif is_want_of_memory(problem):
        return want_of_memory(f"case {case}", problem, error)
    elif isinstance(problem, CaseStalled):
        found, fix = (
            str(problem),
            "raise --case-timeout, or check what it waits for (a file system that hangs?)",
        )
    return error(f"case {case}", found=found, expected="the case to be processed", fix=fix)
