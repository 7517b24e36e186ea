"""One interface (concurrent.futures.Executor) for work that is done case by case."""

from balrsam_pipeline.execution.cases import Outcome, run_cases
from balrsam_pipeline.execution.local import default_workers, local_executor
from balrsam_pipeline.execution.lock import folder_lock

__all__ = ["Outcome", "default_workers", "folder_lock", "local_executor", "run_cases"]
