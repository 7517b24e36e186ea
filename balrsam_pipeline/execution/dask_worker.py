"""What runs on a Dask worker: one call, after a look whether the worker's installation fits, and within a
time limit."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from balrsam_pipeline import __version__
from balrsam_pipeline.errors import ClusterError, installing
from balrsam_pipeline.execution.failures import CaseStalled, run_with_limit

LOG = logging.getLogger(__name__)
COMPARED = (
    "torch",
    "numpy",
    "SimpleITK",
    "blosc2",
)  # what results depend on, besides this package and Python
RESTART_AFTER_S = 1.0  # so that the answer leaves the worker before the worker ends


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """A call to be made on a worker, by an installation with these `versions`."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    versions: Mapping[str, str]
    limit_s: float | None


@cache
def versions_here() -> Mapping[str, str]:
    """The versions of what results depend on: this package, Python (minor), and the libraries that compute
    and read."""
    found = {"balrsam-pipeline": __version__, "python": ".".join(platform.python_version_tuple()[:2])}
    for package in COMPARED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def unseen_folders(folders: tuple[str, ...]) -> list[str]:
    """Those of `folders` that this machine does not have."""
    return [folder for folder in folders if not Path(folder).is_dir()]


def differences(client: Mapping[str, str], worker: Mapping[str, str]) -> str:
    """The packages whose versions differ, in words; empty where none does."""
    return ", ".join(
        f"{name} {worker.get(name)} (here: {wanted})"
        for name, wanted in client.items()
        if worker.get(name) != wanted
    )


def mismatch(worker: str, found: str) -> ClusterError:
    """The error of a worker whose installation differs."""
    return ClusterError(
        f"worker {worker}",
        found=found,
        expected="the same versions on every worker as here, so that results are the same",
        fix=f"install the same versions there, {installing('cluster')}",
    )


def call_on_worker(call: RemoteCall) -> Any:
    """Carry out a call on a worker.

    Raises:
        ClusterError: the worker's installation differs.
        CaseStalled: the call took longer than it may; the worker restarts itself, to be rid of it.
        Exception: whatever the call raises.
    """
    different = differences(call.versions, versions_here())
    if different:
        raise mismatch(platform.node(), different)
    if call.limit_s is None:
        return call.function(*call.arguments)
    try:
        return run_with_limit(lambda arguments: call.function(*arguments), call.arguments, call.limit_s)
    except CaseStalled as problem:
        LOG.warning("a case was given up after %g s; where it stood:\n%s", problem.limit_s, problem.stack)
        _restart_worker()
        raise


def _restart_worker() -> None:
    """Let the nanny replace this worker, whose stalled thread nothing else can end; without a nanny it is
    left as it is."""
    from distributed import get_worker

    worker = get_worker()
    if worker.nanny is not None:
        worker.loop.add_callback(worker.loop.call_later, RESTART_AFTER_S, _close, worker)


async def _close(worker: Any) -> None:
    await worker.close(nanny=False, executor_wait=False, reason="a case was given up")
