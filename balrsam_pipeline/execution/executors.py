"""Executors for the options: local processes or a cluster; None where cases are worked on here, in turn."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from balrsam_pipeline.execution.failures import CaseExecutor
from balrsam_pipeline.execution.fork_server import start_fork_server, worker_context
from balrsam_pipeline.execution.options import ExecutionOptions
from balrsam_pipeline.execution.process_pool import ProcessExecutor
from balrsam_pipeline.processor import usable_cores

_PRELOADED = ["blosc2", "planners.scan", "planners.preprocess"]


def preload(modules: Sequence[str]) -> None:
    """Have the fork server import these modules, too; of no use once it has started."""
    _PRELOADED.extend(modules)
    multiprocessing.set_forkserver_preload(_PRELOADED)


def start_workers_early() -> None:
    """Let the fork server import what workers need, once for all of them, while this process still imports.

    Nothing happens where there is no fork server.
    """
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_forkserver_preload(_PRELOADED)
        start_fork_server()


def default_workers() -> int:
    """One worker a core that this process may use."""
    return usable_cores()


@contextmanager
def local_executor(workers: int, case_timeout_s: float | None = None) -> Iterator[CaseExecutor | None]:
    """An executor of `workers` processes, single-threaded each; None (run here) for one worker and no time
    limit.

    Args:
        case_timeout_s: a case that takes longer ends with CaseStalled, and its process is replaced.
    """
    if workers <= 1 and case_timeout_s is None:
        yield None
        return
    executor = ProcessExecutor(max(1, workers), worker_context(), case_timeout_s)
    try:
        yield executor
    except BaseException:
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()


@contextmanager
def open_executor(
    options: ExecutionOptions, folders: Sequence[Path] = (), gpu: bool = False
) -> Iterator[CaseExecutor | None]:
    """The executor for `run_cases`: a cluster's, local processes, or None (work here, one case after the
    other).

    Args:
        folders: what the workers of a cluster must see.
        gpu: each case needs a GPU, where the workers of a cluster declare any.

    Raises:
        ClusterError: the cluster cannot be used.
    """
    if options.cluster is None:
        with local_executor(options.workers, options.case_timeout_s) as local:
            yield local
        return
    from balrsam_pipeline.execution.dask_executor import cluster_executor

    with cluster_executor(options.cluster, options.case_timeout_s, folders, gpu) as executor:
        yield executor
