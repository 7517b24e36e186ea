"""One interface (concurrent.futures.Executor) for work that is done case by case, on this machine or on a
Dask cluster."""

from balrsam_pipeline.execution.failures import CaseExecutor, CaseStalled, WorkerLost
from balrsam_pipeline.execution.local import default_workers, local_executor
from balrsam_pipeline.execution.lock import folder_lock
from balrsam_pipeline.execution.opening import open_executor
from balrsam_pipeline.execution.options import ClusterOptions, ExecutionOptions
from balrsam_pipeline.execution.run_cases import Outcome, run_cases

__all__ = [
    "CaseExecutor",
    "CaseStalled",
    "ClusterOptions",
    "ExecutionOptions",
    "Outcome",
    "WorkerLost",
    "default_workers",
    "folder_lock",
    "local_executor",
    "open_executor",
    "run_cases",
]
