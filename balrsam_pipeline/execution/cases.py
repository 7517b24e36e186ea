"""Doing the same thing to many cases over any `concurrent.futures.Executor`: failures are collected, the others finish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from typing import Generic, TypeVar

from balrsam_pipeline.errors import BalrsamError

Item = TypeVar("Item")
Result = TypeVar("Result")
WAITING_PER_WORKER = 2  # submitted ahead, so that workers never idle and memory stays bounded


@dataclass(frozen=True, slots=True)
class Outcome(Generic[Result]):
    """What became of one case: a `value`, or the `error` that stopped it."""

    case: str
    value: Result | None
    error: BalrsamError | None


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
        workers: how many run at once, which bounds how many are submitted ahead.
        error: the class that unexpected exceptions are reported as; a BalrsamError passes as it is.
    """
    if executor is None:
        for case, item in items.items():
            yield _outcome(case, lambda item=item: function(item), error)  # type: ignore[misc]
        return
    pending: dict[Future[Result], str] = {}
    for case, item in items.items():
        try:
            pending[executor.submit(function, item)] = case
        except BrokenExecutor as problem:
            yield Outcome(case, None, _unexpected(case, problem, error))
        if len(pending) >= workers * WAITING_PER_WORKER:
            yield from _finished(pending, error)
    while pending:
        yield from _finished(pending, error)


def _finished(pending: dict[Future[Result], str], error: type[BalrsamError]) -> Iterator[Outcome[Result]]:
    done, _ = wait(pending, return_when=FIRST_COMPLETED)
    for future in done:
        yield _outcome(pending.pop(future), future.result, error)


def _outcome(case: str, compute: Callable[[], Result], error: type[BalrsamError]) -> Outcome[Result]:
    try:
        return Outcome(case, compute(), None)
    except BalrsamError as problem:
        return Outcome(case, None, problem)
    except Exception as problem:  # one case must not stop the others; the error is reported with the case
        return Outcome(case, None, _unexpected(case, problem, error))


def _unexpected(case: str, problem: BaseException, error: type[BalrsamError]) -> BalrsamError:
    killed = isinstance(problem, BrokenExecutor)
    return error(
        f"case {case}",
        found="a worker process died (killed by the system, often for want of memory)"
        if killed
        else f"{type(problem).__name__}: {problem}",
        expected="the case to be processed",
        mend="use fewer workers (--workers 1)" if killed else "check this case's files: balrsam verify DATASET",
    )
