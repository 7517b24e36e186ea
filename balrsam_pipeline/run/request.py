"""What `balrsam run` is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from balrsam_pipeline.execution import ClusterOptions
from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.layout import PlanFolder, PreprocessedFolder, ResultsFolder
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.plan_names import UNNAMED, model_name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What to run: one dataset, and the choices that the user made.

    Attributes:
        dataset: the raw dataset folder.
        plan: the name of the plan; "" is the unnamed one.
        configurations: those to plan and train; None trains the plan's default, or all of the plan with
            `every_configuration`.
        folds: those to train; None trains all of the cross-validation. With "all" among them a model is
            trained on all cases, and predicts.
        max_minutes: training time per fold; None trains for the planned number of epochs.
        epochs: training epochs per fold; None leaves it to max_minutes or the default.
        settings: a JSON file of training settings.
        accept_changed_settings: train on where settings or the plan differ from those that training was
            started with.
        device: "cuda", "cpu", …; None chooses.
        devices: GPUs to train folds on at the same time, or the CPU as often as trainings share it; none
            trains them one after the other.
        workers: processes for planning, choosing, prediction and scoring of the test cases; None takes one
            per core.
        cluster: where cases are worked on and folds are trained; None is here.
        options: command -> option -> words: what is handed on to one step alone, see `handed_on`.
    """

    dataset: Path
    roots: Roots
    plan: str = UNNAMED
    configurations: tuple[str, ...] | None = None
    every_configuration: bool = False
    folds: tuple[FoldName, ...] | None = None
    max_minutes: float | None = None
    epochs: int | None = None
    settings: Path | None = None
    accept_changed_settings: bool = False
    device: str | None = None
    devices: tuple[str, ...] = ()
    workers: int | None = None
    cluster: ClusterOptions | None = None
    options: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def preprocessed(self) -> Path:
        """The dataset's folder of preprocessed data."""
        return self.roots.preprocessed / self.dataset.name

    @property
    def planned(self) -> PlanFolder:
        """The plan's folder."""
        return PreprocessedFolder(self.preprocessed).planned(self.plan)

    def model(self, configuration: str) -> str:
        """The name of the plan's configuration among all models of the dataset."""
        return model_name(configuration, self.plan)

    @property
    def results(self) -> Path:
        """The dataset's folder of results."""
        return self.roots.results / self.dataset.name

    @property
    def predictions(self) -> Path:
        """Where predictions of imagesTs go."""
        return ResultsFolder(self.results).predictions.path

    @property
    def bases(self) -> dict[str, Path]:
        """What the first part of a file's label stands for."""
        return {"raw": self.dataset, "preprocessed": self.preprocessed, "results": self.results}
