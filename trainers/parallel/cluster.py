"""Training folds of any configurations at the same time on a Dask cluster; the calling process waits, retries
and pools."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balrsam_pipeline.errors import ClusterError, TrainingError
from balrsam_pipeline.execution import ClusterOptions
from balrsam_pipeline.files import write_json
from balrsam_pipeline.layout import FoldFolder, ModelFolder
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.serialise import to_json
from trainers.parallel.cluster_worker import FoldEnd, FoldTask, train_on_worker
from trainers.request import TrainRequest
from trainers.stopping import TrainingStopped

if TYPE_CHECKING:
    from balrsam_pipeline.execution.dask_watch import WorkerWatch

LOG = logging.getLogger(__name__)
MOST_STOPS = 10  # how often a training that was asked to stop (a node that is taken away) is sent on
MOST_LOSSES = 3  # how often a fold may lose its worker before it is given up
LOOK_EVERY_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTraining:
    """Where folds are trained, and how many processes (GPUs) train one together."""

    cluster: ClusterOptions
    processes: int = 1


@dataclass(slots=True)
class _Fold:
    """A fold on its way: where it is trained, how often it was stopped and how often its worker was lost."""

    task: FoldTask
    worker: str = ""
    stops: int = 0
    losses: int = 0


def train_on_cluster(requests: Sequence[TrainRequest], where: ClusterTraining) -> None:
    """Train and validate every request's fold on the cluster; what was trained already ends at once.

    Each takes as many of the GPUs that a worker declares as it has processes. A worker takes one fold at a
    time: a second would train on the same GPUs, the first that the worker sees. Which worker takes which is
    decided here, so that workers may come and go.

    Raises:
        TrainingError: folds that failed, with the end of what they printed; ClusterError: the cluster cannot
            be used.
    """
    from balrsam_pipeline.execution.dask_executor import connect, most_declared
    from balrsam_pipeline.execution.dask_watch import WorkerWatch

    waiting = deque(_Fold(_task(_absolute(request), where.processes)) for request in requests)
    settings = [FoldFolder(fold.task.folder).settings for fold in waiting]
    with connect(where.cluster, [requests[0].dataset, *_absolute_roots(requests[0].roots)]) as client:
        gpus = most_declared(client, "GPU")
        if 0 < gpus < where.processes:
            raise _too_few_gpus(gpus, where.processes)
        LOG.info("%d folds for the cluster; what each prints: fold_N/cluster.log", len(waiting))
        wanted = "worker with enough GPUs for a fold" if gpus else "worker"
        watch = WorkerWatch(client.scheduler.address, where.cluster.wait_s, wanted)
        failed = _train_all(client, waiting, where.processes, watch)
    for path in settings:
        path.unlink(missing_ok=True)
    if failed:
        raise TrainingError(
            f"folds on the cluster: {', '.join(failed)}",
            found="\n".join(f"{name}: {problem}" for name, problem in failed.items()),
            expected="every fold trained",
            fix="fix what they name, then run the same command again: it goes on",
        )


def _train_all(client: Any, waiting: deque[_Fold], processes: int, watch: WorkerWatch) -> dict[str, str]:
    """Keep every free worker busy until no fold is left; returns what failed, and how.

    Raises:
        ClusterError: the scheduler is gone, or there are no workers any more.
    """
    from balrsam_pipeline.execution.dask_executor import connection_lost
    from balrsam_pipeline.execution.dask_watch import workers_of

    running: dict[Future[FoldEnd], _Fold] = {}
    failed: dict[str, str] = {}
    slots, warned = _Slots({}, gpus=False), False
    while waiting or running:
        if client.status != "running":
            raise connection_lost(client)
        workers = workers_of(client)
        slots = slots if workers is None else _slots(workers, processes)
        watch.look(None if workers is None else slots.workers, time.monotonic())
        for worker in _free(slots, running):
            if waiting:
                fold = waiting.popleft()
                fold.worker = worker
                running[_send(client, fold, bool(slots.gpus))] = fold
        if waiting and not warned:  # though every free worker has been given one
            warned = _warn_of_idle_gpus(workers or {}, processes)
        done, _ = (
            wait(running, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED) if running else (set(), set())
        )
        if not running:
            time.sleep(LOOK_EVERY_S)
        lost = {
            future
            for future, fold in running.items()
            if fold.worker not in slots.folds and future not in done
        }
        for future in done | lost:
            fold = running.pop(future)
            future.cancel()
            if _goes_on(fold, future, lost=future in lost):
                waiting.append(fold)
            else:
                failed |= _failure(fold, future)
    return failed


@dataclass(frozen=True, slots=True)
class _Slots:
    """How many folds each worker takes at a time: one or none."""

    folds: dict[str, int]
    gpus: bool

    @property
    def workers(self) -> tuple[str, ...]:
        """Those that take any."""
        return tuple(address for address, count in self.folds.items() if count)


def _slots(workers: Mapping[str, Any], processes: int) -> _Slots:
    gpus = _declared_gpus(workers)
    if any(gpus.values()):
        return _Slots({address: int(count >= processes) for address, count in gpus.items()}, gpus=True)
    return _Slots(dict.fromkeys(workers, 1), gpus=False)


def _declared_gpus(workers: Mapping[str, Any]) -> dict[str, int]:
    return {address: int(worker["resources"].get("GPU", 0)) for address, worker in workers.items()}


def _warn_of_idle_gpus(workers: Mapping[str, Any], processes: int) -> bool:
    """Whether a worker declares more GPUs than a fold takes; the one that declares most is warned of."""
    gpus = _declared_gpus(workers)
    most = max(gpus, key=lambda address: gpus[address], default="")
    if not most or gpus[most] <= processes:
        return False
    LOG.warning(
        "worker %s declares GPU=%d, and trains one fold at a time, with %d: start a worker per fold there "
        "(CUDA_VISIBLE_DEVICES, --resources GPU=%d), or train with --gpus-per-fold %d",
        most,
        gpus[most],
        processes,
        processes,
        gpus[most],
    )
    return True


def _free(slots: _Slots, running: Mapping[Future[FoldEnd], _Fold]) -> list[str]:
    used = [fold.worker for fold in running.values()]
    return [address for address, count in slots.folds.items() for _ in range(count - used.count(address))]


def _send(client: Any, fold: _Fold, gpus: bool) -> Future[FoldEnd]:
    resources = {"resources": {"GPU": float(fold.task.processes)}} if gpus else {}
    executor = client.get_executor(pure=False, workers=[fold.worker], allow_other_workers=False, **resources)
    LOG.info("%s: sent to %s", fold.task.name, fold.worker)
    future: Future[FoldEnd] = executor.submit(train_on_worker, fold.task)
    return future


def _goes_on(fold: _Fold, future: Future[FoldEnd], lost: bool) -> bool:
    """Whether the fold is to be sent on, because it was stopped or its worker is gone; noted down."""
    if lost:
        fold.losses += 1
        LOG.warning("%s: worker %s is lost", fold.task.name, fold.worker)
        return fold.losses < MOST_LOSSES
    if (
        not future.cancelled()
        and future.exception() is None
        and future.result().code == TrainingStopped.exit_code
    ):
        fold.stops += 1
        LOG.info("%s: stopped and saved on %s; to go on elsewhere", fold.task.name, fold.worker)
        return fold.stops < MOST_STOPS
    return False


def _task(train: TrainRequest, processes: int) -> FoldTask:
    folder = ModelFolder(train.model_folder(str(train.configuration))).fold(train.fold).path
    settings = FoldFolder(folder).settings
    write_json(settings, to_json(train.config))
    name = f"{train.configuration} fold {train.fold}"
    return FoldTask(name=name, words=train.to_argv(settings), folder=folder, processes=processes)


def _too_few_gpus(gpus: float, wanted: int) -> ClusterError:
    return ClusterError(
        "--gpus-per-fold",
        found=f"{wanted}, and no worker declares more than GPU={gpus:g}",
        expected="a worker with as many GPUs as a fold takes",
        fix=f"start workers with --resources GPU={wanted}, or lower --gpus-per-fold",
    )


def _absolute(train: TrainRequest) -> TrainRequest:
    """The request with paths that hold on every machine."""
    raw, preprocessed, results = _absolute_roots(train.roots)
    return dataclasses.replace(
        train,
        dataset=train.dataset.absolute(),
        roots=Roots(raw=raw, preprocessed=preprocessed, results=results),
        base=train.base.absolute() if train.base is not None else None,
        init_from=train.init_from.absolute() if train.init_from is not None else None,
    )


def _absolute_roots(roots: Roots) -> tuple[Path, Path, Path]:
    return roots.raw.absolute(), roots.preprocessed.absolute(), roots.results.absolute()


def _failure(fold: _Fold, future: Future[FoldEnd]) -> dict[str, str]:
    """Say how the fold ended; the problem under its name, where it failed."""
    name = fold.task.name
    if future.cancelled():
        return {
            name: f"lost its worker {fold.losses} times"
            if fold.losses
            else "the connection to the scheduler is lost"
        }
    problem = future.exception()
    if problem is not None:
        return {name: f"{type(problem).__name__}: {problem}"}
    end = future.result()
    if end.code == 0:
        LOG.info("%s: trained on %s in %.1f min", name, end.host, end.elapsed_s / 60)
        return {}
    return {name: f"exit code {end.code} on {end.host}; it printed\n{end.printed}"}
