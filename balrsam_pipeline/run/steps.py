"""Which commands make up a run, as data: pure functions from a request (and the plan) to command lines.

Every command is resumable by itself and does nothing where its output is there already, so a run that was stopped is
continued by running it again.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.paths import Roots
from balrsam_pipeline.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What to run: one dataset, and the choices that the user made.

    Attributes:
        dataset: the raw dataset folder.
        configurations: those to plan and train; None trains the plan's default.
        folds: those to train; None trains all.
        max_minutes: training time a fold; None trains for the planned number of epochs.
        device: "cuda", "cpu", …; None chooses.
        workers: processes for planning, prediction and scoring; None takes one a core.
    """

    dataset: Path
    roots: Roots
    configurations: tuple[str, ...] | None = None
    folds: tuple[int, ...] | None = None
    max_minutes: float | None = None
    device: str | None = None
    workers: int | None = None

    @property
    def results(self) -> Path:
        """The dataset's folder of results."""
        return self.roots.results / self.dataset.name

    @property
    def predictions(self) -> Path:
        """Where predictions of imagesTs go."""
        return self.results / "predictions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a run: `title` for people, `command` the sub-command of balrsam, `words` its arguments."""

    title: str
    command: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(("balrsam", self.command, *self.words))


def planning_step(request: RunRequest) -> Step:
    """The step that makes the plan; the others are known only once it is there."""
    words = [str(request.dataset), *_roots(request), *_workers(request)]
    if request.configurations:
        words += ["--configurations", *request.configurations]
    return Step(title="Measure, plan, preprocess", command="plan_and_preprocess", words=tuple(words))


def steps_after_planning(request: RunRequest, plan: Plan) -> tuple[Step, ...]:
    """Train and validate, choose the best, predict imagesTs (if any), score it (where labelsTs is there).

    Raises:
        PlanError: a configuration was asked for that the plan does not have.
    """
    names = request.configurations or (plan.default_configuration,)
    dataset, roots = str(request.dataset), _roots(request)
    folds = ["--folds", *map(str, request.folds)] if request.folds else []
    device = ["--device", request.device] if request.device else []
    minutes = ["--max-minutes", f"{request.max_minutes:g}"] if request.max_minutes else []
    steps = []
    for name in names:
        plan.configuration(name)
        words = (dataset, "--configuration", name, *folds, *minutes, *device, *roots)
        steps.append(Step(title=f"Train and validate '{name}'", command="crossval", words=words))
    words = (dataset, "--configurations", *names, *folds, *roots)
    steps.append(Step(title="Choose the best model or ensemble", command="find_best_configuration", words=words))
    if (request.dataset / "imagesTs").is_dir():
        output = str(request.predictions)
        words = ("-i", str(request.dataset / "imagesTs"), "-o", output, "-d", dataset, "--best", *device, *roots, *_workers(request))
        steps.append(Step(title="Predict imagesTs", command="predict", words=words))
        if (request.dataset / "labelsTs").is_dir():
            words = (output, str(request.dataset / "labelsTs"), "--labels", str(request.dataset / "dataset.json"), *_workers(request))
            steps.append(Step(title="Score imagesTs", command="evaluate", words=words))
    return tuple(steps)


def _roots(request: RunRequest) -> tuple[str, ...]:
    roots = request.roots
    return ("--raw", str(roots.raw), "--preprocessed", str(roots.preprocessed), "--results", str(roots.results))


def _workers(request: RunRequest) -> tuple[str, ...]:
    return ("--workers", str(request.workers)) if request.workers else ()
