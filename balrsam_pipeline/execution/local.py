"""Executors over local processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager

from balrsam_pipeline.execution.failures import CaseExecutor
from balrsam_pipeline.execution.process_pool import ProcessExecutor


def default_workers() -> int:
    """One worker a core that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def local_executor(workers: int, case_timeout_s: float | None = None) -> Iterator[CaseExecutor | None]:
    """An executor of `workers` processes, single-threaded each; None (run here) for one worker and no time
    limit.

    Processes come from a fork server, because forking a process that has started threads can deadlock.

    Args:
        case_timeout_s: a case that takes longer ends with CaseStalled, and its process is replaced.
    """
    if workers <= 1 and case_timeout_s is None:
        yield None
        return
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    executor = ProcessExecutor(max(1, workers), multiprocessing.get_context(method), case_timeout_s)
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()
