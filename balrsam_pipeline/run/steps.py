"""Which steps make up a run, as data: a graph of commands that a user could type, each with the files it
reads and writes.

Files are named by patterns below a base: `raw/`, `preprocessed/` and `results/` are the dataset's folders
under the three roots.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from balrsam_pipeline.command import load_command, parser_of
from balrsam_pipeline.execution import cluster_words
from balrsam_pipeline.layout import PreprocessedFolder, RawFolder, ResultsFolder
from balrsam_pipeline.network.official_checkpoints import find_checkpoint
from balrsam_pipeline.paths import shown
from balrsam_pipeline.plan import Plan
from balrsam_pipeline.run.handed_on import settings_for, words_for
from balrsam_pipeline.run.request import RunRequest

_NONE: Mapping[str, str] = MappingProxyType({})
SHARED = ("--raw", "--preprocessed", "--results")
CLUSTER_STEP, DEVICES_STEP = "train_on_cluster", "train_on_devices"
RAW, PREPROCESSED, RESULTS = (
    RawFolder(Path("raw")),
    PreprocessedFolder(Path("preprocessed")),
    ResultsFolder(Path("results")),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command of a run.

    Attributes:
        name: unique in the run; its record is `results/DATASET/run/NAME.json`.
        title: for people.
        command: the sub-command of balrsam, and `words` its arguments.
        needs: names of the steps that must be done before.
        settings: the choices that its outputs depend on.
        inputs: patterns of the files it reads; `other_inputs` lie elsewhere, by label.
        outputs: patterns of the files it writes.
        continues: words to add where it was interrupted with the very same inputs.
        finished, outdated: see `command.CommandFiles`; the latter as patterns.
    """

    name: str
    title: str
    command: str
    words: tuple[str, ...]
    needs: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    other_inputs: Mapping[str, Path] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()
    continues: tuple[str, ...] = ()
    finished: Callable[[Path], tuple[Path, ...]] = lambda _: ()
    outdated: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shlex.join(("balrsam", self.command, *self.words))

    def shown(self) -> str:
        """The command in short: without the folders that all steps share, paths from the working folder
        on."""
        words, left_out = ["balrsam", self.command], False
        for word in self.words:
            if not left_out and word not in SHARED:
                words.append(shown(Path(word)) if Path(word).is_absolute() else word)
            left_out = word in SHARED
        return shlex.join(words)


def planning_step(request: RunRequest) -> Step:
    """The step that makes the plan; the others are known only once it is there."""
    words = [str(request.dataset), *_roots(request), *_workers(request)]
    if request.configurations:
        words += ["--configurations", *request.configurations]
    return _step(
        request,
        "plan_and_preprocess",
        tuple(words),
        name="prepare",
        title="Measure, plan, preprocess",
        settings={"--configurations": " ".join(request.configurations or ("all",))},
        inputs=_labels(RAW.description, RAW.splits, RAW.groups, RAW.images_tr / "*", RAW.labels_tr / "*"),
    )


def steps_after_planning(request: RunRequest, plan: Plan, folds: Sequence[int]) -> tuple[Step, ...]:
    """Train and validate every fold, pool the scores, choose the best, predict imagesTs (if any), score it
    (where labelsTs is there).

    Args:
        folds: those that the dataset is split into; `request.folds` chooses among them.

    Raises:
        PlanError: a configuration was asked for that the plan does not have.
    """
    planned = tuple(plan.configurations) if request.every_configuration else (plan.default_configuration,)
    names = request.configurations or planned
    folds = request.folds or tuple(folds)
    together = _training_together(request, names, folds)
    steps = [together] if together is not None else []
    first = ("prepare", *(step.name for step in steps))
    steps += [step for name in names for step in _crossvalidation(request, plan, name, folds, first)]
    steps.append(_choosing(request, names, folds))
    raw = RawFolder(request.dataset)
    if raw.images_ts.is_dir():
        steps.append(_prediction(request, names, folds))
        if raw.labels_ts.is_dir():
            steps.append(_scoring(request))
    return tuple(steps)


def _training_together(request: RunRequest, names: Sequence[str], folds: Sequence[int]) -> Step | None:
    """All folds of all configurations at the same time, on a cluster or on several devices; the steps of the
    folds then find them trained. None where there is one to train, or one device."""
    devices = request.devices if len(names) * len(folds) > 1 else ()
    if not request.cluster and not devices:
        return None
    where = ("--parallel-folds", *devices) if devices else cluster_words(request.cluster)
    chosen = ("--configurations", *names, "--folds", *map(str, folds))
    return _step(
        request,
        "crossval",
        (str(request.dataset), *chosen, *_training(request), *where),
        name=DEVICES_STEP if devices else CLUSTER_STEP,
        title=f"Train and validate all folds on {'several devices' if devices else 'the cluster'}",
        needs=("prepare",),
        settings={
            "--max-minutes": _text(request.max_minutes),
            "--epochs": _text(request.epochs),
            "folds": " ".join(chosen),
            **settings_for("train", request.options),
        },
        inputs=_labels(PREPROCESSED.plan, PREPROCESSED.folds),
        other_inputs=_given({"--settings": request.settings}),
    )


def _crossvalidation(
    request: RunRequest, plan: Plan, name: str, folds: Sequence[int], first: tuple[str, ...]
) -> list[Step]:
    """One step per fold, which needs those in `first`, and the one that pools them."""
    network, model = plan.configuration(name).network, RESULTS.model(name)
    base = None if network.from_scratch else find_checkpoint(network.base)
    words = (str(request.dataset), "--configuration", name)
    trained = tuple(
        _step(
            request,
            "train",
            (*words, "--fold", str(fold), *_training(request)),
            name=f"train_{name}_fold_{fold}",
            title=f"Train and validate '{name}', fold {fold}",
            needs=first,
            settings={"--max-minutes": _text(request.max_minutes), "--epochs": _text(request.epochs)},
            inputs=_labels(PREPROCESSED.plan, PREPROCESSED.folds),
            other_inputs=_given({"--settings": request.settings, "SAM checkpoint": base}),
        )
        for fold in folds
    )
    pooled = _step(
        request,
        "crossval",
        (*words, "--folds", *map(str, folds), *_training(request)),
        name=f"crossval_{name}",
        title=f"Pool the scores of '{name}'",
        needs=tuple(step.name for step in trained),
        settings={"--folds": " ".join(map(str, folds))},
        inputs=_labels(*(model.fold(fold).validation.summary for fold in folds)),
    )
    return [*trained, pooled]


def _choosing(request: RunRequest, names: Sequence[str], folds: Sequence[int]) -> Step:
    chosen = tuple(map(str, folds))
    return _step(
        request,
        "find_best_configuration",
        (
            str(request.dataset),
            "--configurations",
            *names,
            "--folds",
            *chosen,
            *_device(request),
            *_roots(request),
        ),
        name="find_best_configuration",
        title="Choose the best model or ensemble",
        needs=tuple(f"crossval_{name}" for name in names),
        settings={"--configurations": " ".join(names), "--folds": " ".join(chosen)},
        inputs=(
            *_models(names, folds),
            *_labels(
                *(RESULTS.model(name).fold(fold).validation.path / "*" for name in names for fold in folds)
            ),
        ),
    )


def _prediction(request: RunRequest, names: Sequence[str], folds: Sequence[int]) -> Step:
    words = (
        "-i",
        str(RawFolder(request.dataset).images_ts),
        "-o",
        str(request.predictions),
        "-d",
        str(request.dataset),
        "--best",
    )
    return _step(
        request,
        "predict",
        (*words, *_device(request), *_roots(request), *_workers(request)),
        name="predict",
        title="Predict imagesTs",
        needs=("find_best_configuration",),
        inputs=(*_labels(RAW.images_ts / "*", RESULTS.best_configuration), *_models(names, folds)),
        continues=("--continue",),
    )


def _scoring(request: RunRequest) -> Step:
    words = (
        str(request.predictions),
        str(RawFolder(request.dataset).labels_ts),
        "--labels",
        str(RawFolder(request.dataset).description),
    )
    return _step(
        request,
        "evaluate",
        (*words, *_workers(request)),
        name="evaluate",
        title="Score imagesTs",
        needs=("predict",),
        inputs=_labels(RESULTS.predictions.path / "*", RAW.labels_ts / "*", RAW.description),
    )


def _step(
    request: RunRequest,
    command: str,
    words: tuple[str, ...],
    settings: Mapping[str, str] = _NONE,
    **facts: Any,
) -> Step:
    """A step with the options that are handed on to its command, and the files that the command writes."""
    words = (*words, *words_for(command, request.options))
    offered = load_command(command)
    if offered.files is None:
        raise TypeError(f"'{command}' does not say what it writes")
    files = offered.files(parser_of(command, offered).parse_args(words))
    return Step(
        command=command,
        words=words,
        settings={**settings, **settings_for(command, request.options)},
        outputs=_below(request, files.outputs),
        finished=files.finished,
        outdated=_below(request, files.outdated),
        **facts,
    )


def _below(request: RunRequest, paths: Iterable[Path]) -> tuple[str, ...]:
    """Files as labels: below the base that they lie in."""
    return tuple(
        next(
            (Path(base) / path.relative_to(folder)).as_posix()
            for base, folder in request.bases.items()
            if path.is_relative_to(folder)
        )
        for path in paths
    )


def _models(names: Sequence[str], folds: Sequence[int]) -> tuple[str, ...]:
    return _labels(*(RESULTS.model(name).plan for name in names)) + _checkpoints(names, folds)


def _checkpoints(names: Sequence[str], folds: Sequence[int]) -> tuple[str, ...]:
    models = map(RESULTS.model, names)
    return _labels(*(model.fold(fold).checkpoint("final") for model in models for fold in folds))


def _labels(*paths: Path) -> tuple[str, ...]:
    return tuple(path.as_posix() for path in paths)


def _training(request: RunRequest) -> tuple[str, ...]:
    words: tuple[str, ...] = ("--max-minutes", f"{request.max_minutes:g}") if request.max_minutes else ()
    words += ("--epochs", str(request.epochs)) if request.epochs else ()
    words += ("--settings", str(request.settings)) if request.settings else ()
    words += ("--accept-changed-settings",) if request.accept_changed_settings else ()
    return (*words, *_device(request), *_roots(request))


def _device(request: RunRequest) -> tuple[str, ...]:
    return ("--device", request.device) if request.device else ()


def where_words(request: RunRequest) -> tuple[str, ...]:
    """The device and the folders, as words for a command."""
    return (*_device(request), *_roots(request))


def shared_words(request: RunRequest) -> str:
    """The folders that all steps share, as words that may be added to any of their commands."""
    words = _roots(request)
    return shlex.join([word if word in SHARED else shown(Path(word)) for word in words])


def _roots(request: RunRequest) -> tuple[str, ...]:
    roots = request.roots
    folders = (roots.raw, roots.preprocessed, roots.results)
    return tuple(word for name, folder in zip(SHARED, folders, strict=True) for word in (name, str(folder)))


def _workers(request: RunRequest) -> tuple[str, ...]:
    return (
        *(("--workers", str(request.workers)) if request.workers else ()),
        *cluster_words(request.cluster),
    )


def _given(paths: Mapping[str, Path | None]) -> dict[str, Path]:
    return {label: path for label, path in paths.items() if path is not None}


def _text(value: float | None) -> str:
    return "default" if value is None else f"{value:g}"
