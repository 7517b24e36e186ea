"""Executors over local processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

_limits: list[object] = []  # keeps a worker's thread limits alive for the life of its process


def default_workers() -> int:
    """One worker a core that this process may use."""
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@contextmanager
def local_executor(workers: int) -> Iterator[Executor | None]:
    """An executor of `workers` processes, single-threaded each; None (run here) for one worker.

    Processes come from a fork server, because forking a process that has started threads can deadlock.
    """
    if workers <= 1:
        yield None
        return
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method), initializer=_one_thread) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def _one_thread() -> None:
    _limits.append(threadpool_limits(1))
