"""One interface (concurrent.futures.Executor) for work that is done case by case, on this machine or on a Dask cluster."""

from balrsam_pipeline.execution.cases import Outcome, run_cases
from balrsam_pipeline.execution.faults import CaseExecutor, CaseStalled, WorkerLost
from balrsam_pipeline.execution.local import default_workers, local_executor
from balrsam_pipeline.execution.lock import folder_lock
from balrsam_pipeline.execution.opening import open_executor
from balrsam_pipeline.execution.options import ClusterOptions, ExecutionOptions

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
