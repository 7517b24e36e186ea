"""Training folds of any configurations at the same time on a Dask cluster; the calling process waits, retries and pools."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balrsam_pipeline.atomic import write_json
from balrsam_pipeline.errors import ClusterError, TrainingError
from balrsam_pipeline.execution import ClusterOptions
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.serialise import to_json
from trainers.command_words import training_words
from trainers.on_worker import FoldEnd, FoldTask, train_on_worker
from trainers.request import TrainRequest
from trainers.stopping import TrainingStopped

LOG = logging.getLogger(__name__)
FOLD = "balrsam-fold"  # the resource that we declare on workers that declare no GPU, so that each trains one fold at a time
RESUMES = 10  # how often a training that was asked to stop (a node that is taken away) is sent on
LOOK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTraining:
    """Where folds are trained, and how many processes (GPUs) train one together."""

    cluster: ClusterOptions
    processes: int = 1


def train_on_cluster(requests: Sequence[TrainRequest], where: ClusterTraining) -> None:
    """Train and validate every request's fold on the cluster; what was trained already ends at once.

    Each takes as many of the GPUs that workers declare as it has processes; where none declares any, each worker takes one fold.

    Raises:
        TrainingError: folds that failed, with the end of what they printed; ClusterError: the cluster cannot be used.
    """
    from balrsam_pipeline.execution.cluster import connect, most_declared

    tasks = [_task(_absolute(request), where.processes) for request in requests]
    folders = [requests[0].dataset, *_absolute_roots(requests[0].roots)]
    with connect(where.cluster, folders) as client:
        gpus = most_declared(client, "GPU")
        if 0 < gpus < where.processes:
            raise _too_few_gpus(gpus, where.processes)
        executor = client.get_executor(pure=False, resources={"GPU": float(where.processes)} if gpus else {FOLD: 1.0})
        pending = {executor.submit(train_on_worker, task): (task, 0) for task in tasks}
        LOG.info("%d folds sent to the cluster; what each prints: fold_N/cluster.log", len(tasks))
        failed: dict[str, str] = {}
        seen: frozenset[str] = frozenset()
        while pending:
            seen = seen if gpus else _declare_folds(client, seen)
            done, _ = wait(pending, timeout=LOOK_EVERY_S, return_when=FIRST_COMPLETED)
            for future in done:
                task, resumes = pending.pop(future)
                if _is_stopped(future) and resumes < RESUMES:
                    LOG.info("%s was asked to stop; sent on", task.name)
                    pending[executor.submit(train_on_worker, task)] = (task, resumes + 1)
                else:
                    failed |= _failure(task, future)
    for task in tasks:
        _settings_file(task.folder).unlink(missing_ok=True)
    if failed:
        raise TrainingError(
            f"folds on the cluster: {', '.join(failed)}",
            found="\n".join(f"{name}: {problem}" for name, problem in failed.items()),
            expected="every fold trained",
            mend="mend what they name, then run the same command again: it goes on",
        )


def _task(train: TrainRequest, processes: int) -> FoldTask:
    folder = train.model_folder(str(train.configuration)) / f"fold_{train.fold}"
    write_json(_settings_file(folder), to_json(train.config))
    words = training_words(train, train.fold, train.device, _settings_file(folder))
    name = f"{train.configuration} fold {train.fold}"
    return FoldTask(name=name, words=tuple(words), folder=folder, processes=processes)


def _too_few_gpus(gpus: float, wanted: int) -> ClusterError:
    return ClusterError(
        "--gpus-per-fold",
        found=f"{wanted}, and no worker declares more than GPU={gpus:g}",
        expected="a worker with as many GPUs as a fold takes",
        mend=f"start workers with --resources GPU={wanted}, or lower --gpus-per-fold",
    )


def _settings_file(folder: Path) -> Path:
    return folder / "settings.json"


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


def _is_stopped(future: Future[FoldEnd]) -> bool:
    return not future.cancelled() and future.exception() is None and future.result().code == TrainingStopped.exit_code


def _failure(task: FoldTask, future: Future[FoldEnd]) -> dict[str, str]:
    """Say how the fold ended; the problem under its name, where it failed."""
    if future.cancelled():
        return {task.name: "the connection to the scheduler is lost"}
    problem = future.exception()
    if problem is not None:
        return {task.name: f"{type(problem).__name__}: {problem}"}
    end = future.result()
    if end.code == 0:
        LOG.info("%s: trained on %s in %.1f min", task.name, end.host, end.elapsed_s / 60)
        return {}
    return {task.name: f"exit code {end.code} on {end.host}; it printed\n{end.printed}"}


def _declare_folds(client: Any, seen: frozenset[str]) -> frozenset[str]:
    """Let every worker that has come since say that it can train one fold at a time."""
    workers = frozenset(client.scheduler_info(n_workers=-1)["workers"])
    if workers - seen:
        client.run(_declare, FOLD, workers=sorted(workers - seen), on_error="ignore")
    return workers


async def _declare(resource: str, dask_worker: Any) -> None:
    await dask_worker.set_resources(**{resource: 1.0})
