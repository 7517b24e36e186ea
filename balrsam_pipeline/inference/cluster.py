"""Predicting cases on the workers of a cluster: each loads the models once and then takes one case after the
other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from balrsam_pipeline.allocator import keep_freed_memory
from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.execution import ExecutionOptions, Outcome, open_executor, run_cases
from balrsam_pipeline.inference.members import Member
from balrsam_pipeline.inference.model_folder import ModelChoice, load_members
from balrsam_pipeline.inference.predict_cases import FileOptions, predict_case
from balrsam_pipeline.inference.predictor import PredictorOptions
from balrsam_pipeline.inference.timing import StageClock


@dataclass(frozen=True, slots=True)
class Models:
    """The models that predict, as every machine that shares the file system can load them.

    Attributes:
        weights_sha256: of each, as the machine that asks has loaded them.
    """

    choice: ModelChoice
    options: PredictorOptions
    weights_sha256: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PredictTask:
    """One case to predict into `output`."""

    models: Models
    files: CaseFiles
    output: Path
    options: FileOptions


@dataclass(frozen=True, slots=True)
class Predicted:
    """The label map that was written, and the seconds that each stage took."""

    path: Path
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class OnCluster:
    """Where `predict_cases` sends cases to be predicted on a cluster."""

    models: Models
    execution: ExecutionOptions

    def outcomes(
        self, cases: Mapping[str, CaseFiles], output: Path, options: FileOptions, clock: StageClock
    ) -> Iterator[Outcome[Path]]:
        """Predict the cases into `output` on the cluster and yield what became of each.

        Raises:
            ClusterError: the cluster cannot be used.
        """
        shared = self.execution.shared
        tasks = {
            case: PredictTask(
                self.models, replace(files, images=tuple(map(shared, files.images))), shared(output), options
            )
            for case, files in cases.items()
        }
        folders = {path.parent for task in tasks.values() for path in task.files.images}
        with open_executor(
            self.execution, (*sorted(folders), shared(output), *self.models.choice.folders), gpu=True
        ) as executor:
            for outcome in run_cases(predict_task, tasks, executor, self.execution.workers, PredictionError):
                if outcome.value is not None:
                    clock.add(outcome.value.seconds)
                path = output / outcome.value.path.name if outcome.value is not None else None
                yield Outcome(outcome.case, path, outcome.error)


def predict_task(task: PredictTask) -> Predicted:
    """Predict one case; runs on a worker.

    Raises:
        PredictionError: the models cannot be loaded or are others than those asked for; BalrsamError: the
            case cannot be predicted.
    """
    clock = StageClock()
    with clock.stage("load"):
        members = _loaded(task.models)
    path = predict_case(members, task.files, task.output, task.options, clock)
    return Predicted(path, clock.seconds())


@lru_cache(maxsize=1)
def _loaded(models: Models) -> tuple[Member, ...]:
    keep_freed_memory()
    members = tuple(load_members(models.choice, models.options))
    found = tuple(member.predictor.weights_sha256 for member in members)
    if found != models.weights_sha256:
        raise PredictionError(
            models.choice.folders[0],
            found="other weights than the machine that asked has",
            expected="the same files on every machine",
            fix="wait until training has ended, check that the file system is shared, then run the same "
            "command again",
        )
    return members
