"""One interface (concurrent.futures.Executor) for work that is done case by case, on this machine or on a
Dask cluster."""

from balrsam_pipeline.execution.executors import (
    default_workers,
    local_executor,
    open_executor,
    start_workers_early,
)
from balrsam_pipeline.execution.failures import (
    CaseExecutor,
    CaseStalled,
    TimeLimit,
    WorkerLost,
    run_with_limit,
)
from balrsam_pipeline.execution.fork_server import worker_context
from balrsam_pipeline.execution.hidden_main import hidden_main
from balrsam_pipeline.execution.lock import folder_lock
from balrsam_pipeline.execution.options import ClusterOptions, ExecutionOptions, cluster_words
from balrsam_pipeline.execution.run_cases import Outcome, case_threads, run_cases

__all__ = [
    "CaseExecutor",
    "CaseStalled",
    "ClusterOptions",
    "ExecutionOptions",
    "Outcome",
    "TimeLimit",
    "WorkerLost",
    "case_threads",
    "cluster_words",
    "default_workers",
    "folder_lock",
    "hidden_main",
    "local_executor",
    "open_executor",
    "run_cases",
    "run_with_limit",
    "start_workers_early",
    "worker_context",
]
