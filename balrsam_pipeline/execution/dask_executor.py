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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from balrsam_pipeline.errors import ClusterError, installing
from balrsam_pipeline.execution.dask_watch import ANSWER_S, WorkerWatch, workers_of
from balrsam_pipeline.execution.dask_worker import (
    RemoteCall,
    call_on_worker,
    differences,
    mismatch,
    unseen_folders,
    versions_here,
)
from balrsam_pipeline.execution.failures import CaseExecutor, CaseStalled, WorkerLost, run_with_limit
from balrsam_pipeline.execution.options import WORKERS_WITHIN_S, ClusterOptions
from balrsam_pipeline.files import read_json

LOG = logging.getLogger(__name__)
WAIT_S = 10.0  # for all of connecting: Dask itself waits for ever for what accepts and then says nothing
CHECK_S = 40.0  # for all workers to say their versions: Dask gives a worker 30 s to be reached
LOOK_EVERY_S = 3.0  # how often the workers are looked up
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
            "--cluster",
            found="Dask is not installed",
            expected="dask and distributed",
            fix=installing("cluster"),
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
        executor = DaskExecutor(client, case_timeout_s, resources, options.wait_s)
        try:
            yield executor
        finally:
            executor.shutdown(cancel_futures=True)


class DaskExecutor(CaseExecutor):
    """Calls on the workers of a Dask cluster; the scheduler itself tries a lost case four times on other
    workers."""

    lost_attempts = 2  # each of up to four losses

    def __init__(
        self,
        client: Any,
        limit_s: float | None = None,
        resources: dict[str, float] | None = None,
        wait_s: float = WORKERS_WITHIN_S,
    ) -> None:
        """Watch the cluster's workers from now on.

        Args:
            client: a `distributed.Client`.
            limit_s: seconds that one call may take.
            resources: what a call needs of its worker, as workers declare it.
            wait_s: seconds without a worker after which all calls end with a ClusterError.
        """
        self._client, self._limit_s, self._resources = client, limit_s, resources or {}
        self._dask = client.get_executor(pure=False, **({"resources": resources} if resources else {}))
        self._size = 1
        self._ended = threading.Event()
        self._given_up: ClusterError | None = None
        self._pending: set[Future[Any]] = set()
        self._lock = threading.Lock()  # of the two above
        wanted = "worker with a GPU" if resources else "worker"
        self._workers = WorkerWatch(client.scheduler.address, wait_s, wanted)
        self._look()
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
        with self._lock:
            problem = self._given_up
            if problem is None and self._client.status != "running":
                problem = connection_lost(self._client)
            if problem is None:
                self._pending.add(outer)
        if problem is not None:
            outer.set_exception(problem)
            return outer
        inner = self._dask.submit(call_on_worker, RemoteCall(fn, args, versions_here(), self._limit_s))
        inner.add_done_callback(lambda done: self._ends(done, outer))
        return outer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Stop watching; with `cancel_futures`, what has not finished is called off."""
        self._ended.set()
        self._dask.shutdown(wait=wait and not cancel_futures)

    def _ends(self, inner: Future[Any], outer: Future[Any]) -> None:
        with self._lock:
            self._pending.discard(outer)
        try:
            _hand_over(inner, outer, self._client)
        except InvalidStateError:
            LOG.debug("cluster: a call ended after it was given up")

    def _watch(self) -> None:
        """Look after the workers; where none comes, end all calls that wait."""
        while not self._ended.wait(LOOK_EVERY_S):
            try:
                self._look()
            except ClusterError as problem:
                with self._lock:
                    self._given_up = problem
                    waiting, self._pending = self._pending, set()
                for future in waiting:
                    with suppress(InvalidStateError):  # it ended at the same moment
                        future.set_exception(problem)
                return

    def _look(self) -> None:
        if self._client.status != "running":
            return  # the connection is lost: calls end with that by themselves
        workers = workers_of(self._client)
        fitting = (
            None
            if workers is None
            else {
                address: worker
                for address, worker in workers.items()
                if all(worker["resources"].get(name, 0) >= least for name, least in self._resources.items())
            }
        )
        self._workers.look(fitting, time.monotonic())
        if fitting is not None:
            self._size = max(1, sum(worker["nthreads"] for worker in fitting.values()))


def most_declared(client: Any, resource: str) -> float:
    """The most of a resource that any one worker declares; 0 where none does."""
    workers = (workers_of(client) or {}).values()
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


def _ask_all(
    client: Any, address: str, function: Callable[..., T], *arguments: Any
) -> dict[str, T | BaseException]:
    """What `function` answers on every worker, or raises there.

    Raises:
        ClusterError: the scheduler or a worker does not answer.
    """
    asked = partial(client.run, function, on_error="return")
    try:
        answers: dict[str, T | BaseException] = run_with_limit(
            lambda words: asked(*words), arguments, CHECK_S
        )
    except (CaseStalled, OSError, RuntimeError) as problem:
        silent = isinstance(problem, CaseStalled)
        raise ClusterError(
            f"cluster {address}",
            found=f"no answer of all workers within {CHECK_S:g} s" if silent else f"{problem}",
            expected="a scheduler and workers that answer",
            fix="end workers that hang, or start the scheduler again; then the same command",
        ) from None
    return answers


def _check_workers(client: Any, folders: tuple[str, ...]) -> None:
    """Refuse workers with other versions, or that do not see the folders; those that come later are checked
    at each call.

    Raises:
        ClusterError: it names the first worker that does not fit.
    """
    address = client.scheduler.address
    for worker, found in _ask_all(client, address, versions_here).items():
        if isinstance(found, OSError):  # it is gone, or hangs
            LOG.warning("cluster: worker %s does not answer (%s)", worker, found)
        elif isinstance(found, BaseException):
            raise mismatch(
                worker, f"balrsam-pipeline cannot be imported there: {type(found).__name__}: {found}"
            )
        elif different := differences(versions_here(), found):
            raise mismatch(worker, different)
    for worker, unseen in _ask_all(client, address, unseen_folders, folders).items():
        if not isinstance(unseen, BaseException) and unseen:
            raise ClusterError(
                f"worker {worker}",
                found=f"no folder {unseen[0]}",
                expected="a file system shared by all workers and this machine, under the same path",
                fix="mount it there, or give folders that are shared: --raw, --preprocessed, --results",
            )
    workers = workers_of(client) or {}
    threads = sum(worker["nthreads"] for worker in workers.values())
    LOG.info("cluster %s: %d worker thread(s)", address, threads)
