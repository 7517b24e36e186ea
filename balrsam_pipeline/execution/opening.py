"""Opening the executor that the options ask for: local processes or a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from balrsam_pipeline.execution.failures import CaseExecutor
from balrsam_pipeline.execution.local import local_executor
from balrsam_pipeline.execution.options import ExecutionOptions


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
