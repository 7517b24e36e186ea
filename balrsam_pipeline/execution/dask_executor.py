"""An executor over a Dask cluster: the same cases, worked on by other machines that share a file system with
this one.

Dask sends functions and arguments with pickle: whoever can reach a scheduler without TLS can run code on its
workers.
"""

from __future__ import annotations

import importlib.util
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from balrsam_pipeline.errors import ClusterError
from balrsam_pipeline.execution.dask_worker import (
    RemoteCall,
    call_on_worker,
    differences,
    mismatch,
    unseen_folders,
    versions_here,
)
from balrsam_pipeline.execution.failures import CaseExecutor, CaseStalled, WorkerLost, run_with_limit
from balrsam_pipeline.execution.options import ClusterOptions
from balrsam_pipeline.files import read_json

LOG = logging.getLogger(__name__)
ANSWER_S = 5  # seconds that a scheduler may take to answer
WAIT_S = 10.0  # for all of connecting: Dask itself waits for ever for what accepts and then says nothing
LOOK_EVERY_S = 3.0  # how often the number of workers is looked up
WARN_EVERY = 20  # looks between two warnings that there is no worker
INSTALL = "pip install 'balrsam-pipeline[cluster]'"
T = TypeVar("T")


def _client(options: ClusterOptions, address: str) -> Any:
    import distributed

    return distributed.Client(address, timeout=ANSWER_S, security=_security(options), set_as_default=False)


@contextmanager
def connect(options: ClusterOptions, folders: Sequence[Path] = ()) -> Iterator[Any]:
    """A `distributed.Client` of the cluster, its workers checked: same versions, and they see `folders`.

    Raises:
        ClusterError: Dask is not installed, no scheduler answers, or a worker does not fit; within seconds.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ClusterError(
            "--cluster", found="Dask is not installed", expected="dask and distributed", fix=INSTALL
        )
    address = _address(options)
    logging.getLogger("distributed").setLevel(
        logging.CRITICAL
    )  # what it logs besides are tracebacks of what is told here
    try:
        _knock(address)
        client = run_with_limit(partial(_client, options), address, WAIT_S)
    except Exception as problem:  # nobody there, wrong certificates, or something else than Dask
        raise ClusterError(
            f"cluster {address}",
            found=f"no Dask scheduler that answers within {ANSWER_S} s: {type(problem).__name__}"
            + (f": {problem}" if not isinstance(problem, CaseStalled) else " (something else listens there)"),
            expected="a Dask scheduler",
            fix="start one (dask scheduler), check host and port, and that tls:// is used on both sides or "
            "on neither",
        ) from None
    try:
        _check_workers(client, tuple(str(folder) for folder in folders if folder.is_dir()))
        yield client
    finally:
        client.close()


@contextmanager
def cluster_executor(
    options: ClusterOptions,
    case_timeout_s: float | None = None,
    folders: Sequence[Path] = (),
    gpu: bool = False,
) -> Iterator[DaskExecutor]:
    """An executor over the cluster.

    Args:
        case_timeout_s: a case that takes longer ends with CaseStalled.
        folders: what the workers must see under the same path.
        gpu: take one of the GPUs that workers declare (`--resources GPU=1`) for each case, where any declares
            them.

    Raises:
        ClusterError: see `connect`.
    """
    with connect(options, folders) as client:
        resources = {"GPU": 1.0} if gpu and most_declared(client, "GPU") else None
        executor = DaskExecutor(client, case_timeout_s, resources)
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)


class DaskExecutor(CaseExecutor):
    """Calls on the workers of a Dask cluster; the scheduler itself tries a lost case four times on other
    workers."""

    lost_attempts = 2  # each of up to four losses

    def __init__(
        self, client: Any, limit_s: float | None = None, resources: dict[str, float] | None = None
    ) -> None:
        """Watch the cluster's workers from now on.

        Args:
            client: a `distributed.Client`.
            limit_s: seconds that one call may take.
            resources: what a call needs of its worker, as workers declare it.
        """
        self._client, self._limit_s = client, limit_s
        self._dask = client.get_executor(pure=False, **({"resources": resources} if resources else {}))
        self._size = max(1, _threads(client))
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="cluster-watch", daemon=True).start()

    @property
    def size(self) -> int:
        """The threads of all workers, as of a few seconds ago."""
        return self._size

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a worker call `fn(*args)`."""
        if kwargs:
            raise TypeError("keyword arguments: use functools.partial")
        outer: Future[T] = Future()
        outer.set_running_or_notify_cancel()
        if self._client.status != "running":
            outer.set_exception(connection_lost(self._client))
            return outer
        inner = self._dask.submit(call_on_worker, RemoteCall(fn, args, versions_here(), self._limit_s))
        inner.add_done_callback(lambda done: _hand_over(done, outer, self._client))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop watching; with `cancel_futures`, what has not finished is called off."""
        self._ended.set()
        self._dask.shutdown(wait=wait and not cancel_futures)

    def _watch(self) -> None:
        looks = 0
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                threads = _threads(self._client)
            except Exception as problem:  # the connection is lost: pending calls end with that by themselves
                LOG.debug("cluster: %s", problem)
                continue
            self._size = max(1, threads)
            if threads == 0 and looks % WARN_EVERY == 0:
                LOG.warning("cluster: no worker at present; waiting for one (dask worker ADDRESS)")
            looks = looks + 1 if threads == 0 else 0


def most_declared(client: Any, resource: str) -> float:
    """The most of a resource that any one worker declares; 0 where none does."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return max((float(worker["resources"].get(resource, 0)) for worker in workers), default=0.0)


def _hand_over(inner: Future[Any], outer: Future[Any], client: Any) -> None:
    """Pass on how a call ended, in our own words where it is the cluster's doing."""
    if inner.cancelled():
        outer.set_exception(connection_lost(client))
        return
    problem = inner.exception()
    if problem is None:
        outer.set_result(inner.result())
    elif type(problem).__name__ == "KilledWorker":
        outer.set_exception(WorkerLost("its Dask worker died four times"))
    else:
        outer.set_exception(problem)


def connection_lost(client: Any) -> ClusterError:
    """The error of a scheduler that is gone."""
    return ClusterError(
        f"cluster {client.scheduler.address if client.scheduler else ''}".rstrip(),
        found="the connection to the scheduler is lost",
        expected="a scheduler until the work is done",
        fix="start it again, then the same command: what is finished stays finished",
    )


def _address(options: ClusterOptions) -> str:
    if not options.address.endswith(".json"):
        return options.address
    content = read_json(Path(options.address), ClusterError)
    address = content.get("address") if isinstance(content, dict) else None
    if not isinstance(address, str):
        raise ClusterError(
            options.address,
            found="no 'address'",
            expected="a scheduler file",
            fix="dask scheduler --scheduler-file FILE",
        )
    return ClusterOptions(
        address=address, tls_ca=options.tls_ca, tls_cert=options.tls_cert, tls_key=options.tls_key
    ).address


def _knock(address: str) -> None:
    """See at once where nobody listens: Dask's client would try again and again."""
    host, _, port = address.partition("://")[2].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S):
        pass


def _security(options: ClusterOptions) -> Any:
    if options.tls_ca is None:
        return None  # Dask's own configuration, if any
    from distributed.security import Security

    key = options.tls_key or options.tls_cert
    return Security(
        tls_ca_file=str(options.tls_ca),
        tls_client_cert=str(options.tls_cert),
        tls_client_key=str(key),
        require_encryption=True,
    )


def _threads(client: Any) -> int:
    return sum(worker["nthreads"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())


def _check_workers(client: Any, folders: tuple[str, ...]) -> None:
    """Refuse workers with other versions, or that do not see the folders; those that come later are checked
    at each call.

    Raises:
        ClusterError: it names the first worker that does not fit.
    """
    for worker, found in client.run(versions_here, on_error="return").items():
        if isinstance(found, BaseException):
            raise mismatch(
                worker, f"balrsam-pipeline cannot be imported there: {type(found).__name__}: {found}"
            )
        different = differences(versions_here(), found)
        if different:
            raise mismatch(worker, different)
    for worker, unseen in client.run(unseen_folders, folders, on_error="raise").items():
        if unseen:
            raise ClusterError(
                f"worker {worker}",
                found=f"no folder {unseen[0]}",
                expected="a file system shared by all workers and this machine, under the same path",
                fix="mount it there, or give folders that are shared: --raw, --preprocessed, --results",
            )
    LOG.info("cluster %s: %d worker thread(s)", client.scheduler.address, _threads(client))
