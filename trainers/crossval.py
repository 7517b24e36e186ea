"""Cross-validation: the folds in sequence or over devices, each resumable, then their scores pooled."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from balrsam_pipeline.dataset import read_folds, require_validated_once
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.execution import folder_lock
from balrsam_pipeline.layout import ModelFolder, PreprocessedFolder, ScoredFolder
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.pooled import part_of_fold
from evaluation import Summary, pool, read_summary, write_reports
from evaluation.statistics import bootstrap_means
from trainers.fold import train_fold
from trainers.parallel.cluster import ClusterTraining, train_on_cluster
from trainers.parallel.devices import train_over_devices
from trainers.request import TrainRequest

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossvalRequest:
    """Train and validate several folds.

    Attributes:
        train: what every fold is trained with; its `fold` is not looked at.
        folds: which; None takes all.
    """

    train: TrainRequest
    folds: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossvalResult:
    """The pooled summary and where it lies.

    Attributes:
        folder: `crossval/` of the model.
        intervals: 95 % intervals in words.
        already_done: everything was there already.
        repeats: it is of one fold, which was trained before, so its table has been shown.
    """

    summary: Summary
    folder: Path
    intervals: str
    already_done: bool
    repeats: bool


def cross_validate(request: CrossvalRequest) -> CrossvalResult:
    """Train and validate the folds that are not done, and pool the scores of all of them.

    Raises:
        TrainingError: a fold could not be trained.
        DatasetError: two of the folds validate the same case.
        TrainingStopped: asked to stop; the same call goes on.
    """
    require_folds_apart(request)
    configuration, folds = _completed(request)
    train = dataclasses.replace(request.train, configuration=configuration)
    results = [train_fold(dataclasses.replace(train, fold=fold)) for fold in folds]
    summaries = [result.summary for result in results if result.summary is not None]
    summary = pool(summaries, [part_of_fold(fold) for fold in folds])
    folder = ModelFolder(train.model_folder(configuration)).crossval.path
    with folder_lock(folder):  # where all is done too: a call killed last of all has left its lock
        already_done = all(result.already_done for result in results) and _pooled_before(folder, summary)
        if not already_done:
            write_reports(summary, folder)
    return CrossvalResult(
        summary=summary,
        folder=folder,
        intervals=interval_lines(summary),
        already_done=already_done,
        repeats=len(results) == 1 and results[0].already_done,
    )


def train_all_on_cluster(requests: Sequence[CrossvalRequest], where: ClusterTraining) -> None:
    """Train the folds of several cross-validations at the same time on a cluster; `cross_validate` then finds
    them done.

    Raises:
        TrainingError: folds could not be trained; ClusterError: the cluster cannot be used.
    """
    train_on_cluster(_folds_of(requests), where)


def train_all_over_devices(requests: Sequence[CrossvalRequest], devices: Sequence[str]) -> None:
    """Train the folds of several cross-validations at the same time, each in a process of its own, one at a
    time on each device; `cross_validate` then finds them done.

    Args:
        devices: one may be named several times; those on a CPU share its cores.

    Raises:
        TrainingError: folds could not be trained.
        TrainingStopped: asked to stop; the same call goes on.
    """
    train_over_devices(_folds_of(requests), devices)


def require_folds_apart(request: CrossvalRequest) -> None:
    """Before folds are trained whose scores are pooled.

    Raises:
        TrainingError: the dataset is not planned; DatasetError: a case is validated by two of the folds.
    """
    _, folds = _completed(request)
    path = PreprocessedFolder(request.train.roots.preprocessed / request.train.dataset.name).folds
    require_validated_once(path, read_folds(path), folds)


def _folds_of(requests: Sequence[CrossvalRequest]) -> list[TrainRequest]:
    return [
        dataclasses.replace(request.train, configuration=configuration, fold=fold)
        for request in requests
        for configuration, folds in [_completed(request)]
        for fold in folds
    ]


def _completed(request: CrossvalRequest) -> tuple[str, tuple[int, ...]]:
    """The configuration and the folds, with the plan's where the request leaves them open.

    Raises:
        TrainingError: the dataset is not planned.
    """
    train = request.train
    preprocessed = PreprocessedFolder(train.roots.preprocessed / train.dataset.name)
    for path in (preprocessed.folds, train.planned.plan):
        if not path.is_file():
            raise TrainingError(
                path.parent,
                found=f"no {path.name}",
                expected="a planned and preprocessed dataset",
                fix=train.planning,
            )
    configuration = train.configuration or read_plan(train.planned.plan).default_configuration
    folds = request.folds if request.folds is not None else range(len(read_folds(preprocessed.folds)))
    return configuration, tuple(dict.fromkeys(folds))  # one that is named twice is trained and counted once


def _pooled_before(folder: Path, summary: Summary) -> bool:
    """Whether the reports of these very scores are there: a fold trained or validated anew has others
    of the same cases."""
    path = ScoredFolder(folder).summary
    if not path.is_file():
        return False
    before = read_summary(path)
    workers = summary.options.workers  # change no score, and are not written
    options = dataclasses.replace(before.options, workers=workers)
    return dataclasses.replace(before, options=options) == summary


def interval_lines(summary: Summary) -> str:
    """Mean, standard deviation over cases and 95 % bootstrap interval of each metric of each label, and of
    the mean over labels."""
    lines = []
    for key in (key for key in ("dice", "hd95") if key in summary.metrics):
        values_cl = np.array(
            [summary.counted(key, label) for label in summary.labels], dtype=np.float64
        ).T  # None becomes NaN
        intervals, overall = bootstrap_means(values_cl)
        for label, interval in zip(summary.labels, intervals, strict=True):
            total = summary.per_label[label][key]
            lines.append(_line(f"{label}: {key}", total.mean, total.std, interval))
        lines.append(_line(f"mean: {key}", summary.foreground_mean[key], None, overall))
    return "\n".join(lines)


def _line(what: str, mean: float | None, std: float | None, interval: tuple[float, float] | None) -> str:
    figures = "no value" if mean is None else f"{mean:.4f}" + (f" ± {std:.4f}" if std is not None else "")
    return f"{what} {figures}" + (
        f", 95 % interval {interval[0]:.4f} to {interval[1]:.4f}" if interval is not None else ""
    )
