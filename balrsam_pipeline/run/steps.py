"""Which steps make up a run, as data: a graph of commands that a user could type, each with the files it
reads and writes.

Files are named by patterns below a base: `raw/`, `preprocessed/` and `results/` are the dataset's folders
under the three roots.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from balrsam_pipeline.execution import cluster_words
from balrsam_pipeline.folds import ALL, FoldName, numbered
from balrsam_pipeline.layout import RawFolder
from balrsam_pipeline.network.official_checkpoints import find_checkpoint
from balrsam_pipeline.plan import Plan
from balrsam_pipeline.plan_names import RECOMMENDED, model_name
from balrsam_pipeline.run.by_hand import decides_planning
from balrsam_pipeline.run.handed_on import settings_for
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.step import PREPROCESSED, RAW, RESULTS, Step, labels, make_step
from balrsam_pipeline.run.together import (
    CHOSEN,
    configurations_of,
    on_cluster,
    on_devices,
    title_of,
    words_of,
)
from balrsam_pipeline.run.words import (
    as_text,
    device_words,
    given_paths,
    plan_words,
    planned_device_words,
    process_words,
    root_words,
    training_words,
    worker_words,
)


def planning_step(request: RunRequest) -> Step:
    """The step that makes the plan; the others are known only once it is there."""
    words = [str(request.dataset), *root_words(request), *worker_words(request)]
    names = request.configurations or (() if request.every_configuration else (RECOMMENDED,))
    if names:
        words += ["--configurations", *names]
    return make_step(
        request,
        "plan_and_preprocess",
        (*words, *plan_words(request), *planned_device_words(request)),
        name=_preparing(request),
        title="Measure, plan, preprocess",
        settings={"--configurations": " ".join(names or ("all",))},
        continues=() if decides_planning(request) else ("--keep-plan",),
        inputs=labels(RAW.description, RAW.splits, RAW.groups, RAW.images_tr / "*", RAW.labels_tr / "*"),
    )


def steps_after_planning(request: RunRequest, plan: Plan, folds: Sequence[int]) -> tuple[Step, ...]:
    """Train and validate every fold, pool the scores, choose the best, predict imagesTs (if any), score it
    (where labelsTs is there). With fold "all" models are trained on all cases too, and predict: the one that
    cross-validation chose, or where there is none, all of them.

    Args:
        folds: those that the dataset is split into; `request.folds` chooses among them.

    Raises:
        PlanError: a configuration was asked for that the plan does not have.
    """
    asked = request.folds or tuple(folds)
    compared = numbered(asked)
    names = configurations_of(request, plan, compared)
    together = _training_together(request, names, compared)
    steps = [together] if together is not None else []
    first = (_preparing(request), *(step.name for step in steps))
    if compared:
        steps += [step for name in names for step in _crossvalidation(request, plan, name, compared, first)]
        steps.append(_choosing(request, names, compared))
    if ALL in asked:
        steps += [_training_of(request, plan, name, ALL, first[:1]) for name in names]
    raw = RawFolder(request.dataset)
    if raw.images_ts.is_dir():
        steps.append(_prediction(request, names, asked))
        if raw.labels_ts.is_dir():
            steps.append(_scoring(request))
    return tuple(steps)


def _training_together(request: RunRequest, names: Sequence[str], folds: Sequence[int]) -> Step | None:
    """All folds of all configurations at the same time, on a cluster or on several devices; the steps of the
    folds then find them trained. None where there is one to train, or one device."""
    count = len(names) * len(folds)
    devices = request.devices[:count] if count > 1 else ()
    if not folds or (not request.cluster and not devices):
        return None
    where = ("--parallel-folds", *devices) if devices else cluster_words(request.cluster)
    chosen = words_of(names, folds)
    return make_step(
        request,
        "crossval",
        (
            str(request.dataset),
            *chosen,
            *plan_words(request),
            *training_words(request),
            *where,
            "--folds-only",
        ),
        name=on_devices(request) if devices else on_cluster(request),
        title=title_of(names, folds, devices),
        needs=(_preparing(request),),
        settings={
            "--max-minutes": as_text(request.max_minutes),
            "--epochs": as_text(request.epochs),
            CHOSEN: shlex.join(chosen),
            **settings_for("train", request.options),
        },
        inputs=_planned(request),
        other_inputs=given_paths({"--settings": request.settings}),
    )


def _crossvalidation(
    request: RunRequest, plan: Plan, name: str, folds: Sequence[int], first: tuple[str, ...]
) -> list[Step]:
    """One step per fold, which needs those in `first`, and the one that pools them."""
    trained = tuple(_training_of(request, plan, name, fold, first) for fold in folds)
    model = RESULTS.model(request.model(name))
    chosen = (*plan_words(request), "--folds", *map(str, folds))
    pooled = make_step(
        request,
        "crossval",
        (str(request.dataset), "--configuration", name, *chosen, *training_words(request)),
        name=f"crossval_{request.model(name)}",
        title=f"Pool the scores of '{request.model(name)}'",
        needs=tuple(step.name for step in trained),
        settings={"--folds": " ".join(map(str, folds))},
        inputs=labels(*(model.fold(fold).validation.summary for fold in folds)),
    )
    return [*trained, pooled]


def _training_of(request: RunRequest, plan: Plan, name: str, fold: FoldName, first: tuple[str, ...]) -> Step:
    """Training of one fold, which needs the steps in `first`."""
    network = plan.configuration(name).network
    base = None if network.from_scratch else find_checkpoint(network.base)
    chosen, model = ("--configuration", name, *plan_words(request), "--fold", str(fold)), request.model(name)
    return make_step(
        request,
        "train",
        (str(request.dataset), *chosen, *training_words(request)),
        name=_training_name(request, name, fold),
        title=f"Train '{model}' on all cases"
        if fold == ALL
        else f"Train and validate '{model}', fold {fold}",
        needs=first,
        settings={"--max-minutes": as_text(request.max_minutes), "--epochs": as_text(request.epochs)},
        inputs=_planned(request),
        other_inputs=given_paths({"--settings": request.settings, "SAM checkpoint": base}),
    )


def _choosing(request: RunRequest, names: Sequence[str], folds: Sequence[int]) -> Step:
    """Companions were trained for accuracy, so it is preferred unless the user says otherwise."""
    chosen, models = tuple(map(str, folds)), tuple(map(request.model, names))
    own = request.options.get("find_best_configuration", {})
    accompanied = request.configurations is None and len(names) > 1
    prefer = ("--prefer", "accuracy") if accompanied and "--prefer" not in own else ()
    return make_step(
        request,
        "find_best_configuration",
        (
            str(request.dataset),
            "--configurations",
            *models,
            "--folds",
            *chosen,
            *prefer,
            *device_words(request),
            *root_words(request),
            *process_words(request),
        ),
        name="find_best_configuration",
        title="Choose the best model or ensemble",
        needs=tuple(f"crossval_{name}" for name in models),
        settings={
            "--configurations": " ".join(models),
            "--folds": " ".join(chosen),
            **dict([prefer] if prefer else []),
        },
        inputs=(
            *_models(models, folds),
            *labels(
                *(RESULTS.model(name).fold(fold).validation.path / "*" for name in models for fold in folds)
            ),
        ),
    )


def _prediction(request: RunRequest, names: Sequence[str], folds: Sequence[FoldName]) -> Step:
    compared, of_all = numbered(folds), ALL in folds
    chosen = ("--best",) if compared else ("--configuration", *names, *plan_words(request))
    needs = ("find_best_configuration",) if compared else ()
    words = (
        "-i",
        str(RawFolder(request.dataset).images_ts),
        "-o",
        str(request.predictions),
        "-d",
        str(request.dataset),
        *chosen,
        *(("--folds", ALL) if of_all else ()),
    )
    return make_step(
        request,
        "predict",
        (*words, *device_words(request), *root_words(request), *worker_words(request)),
        name="predict",
        title="Predict imagesTs",
        needs=(*needs, *((_training_name(request, name, ALL) for name in names) if of_all else ())),
        settings={"--folds": ALL} if of_all else {},
        inputs=(
            *labels(RAW.images_ts / "*", *((RESULTS.best_configuration,) if compared else ())),
            *_models(tuple(map(request.model, names)), (ALL,) if of_all else compared),
        ),
        continues=("--continue",),
    )


def _scoring(request: RunRequest) -> Step:
    words = (
        str(request.predictions),
        str(RawFolder(request.dataset).labels_ts),
        "--labels",
        str(RawFolder(request.dataset).description),
    )
    return make_step(
        request,
        "evaluate",
        (*words, *worker_words(request)),
        name="evaluate",
        title="Score imagesTs",
        needs=("predict",),
        inputs=labels(RESULTS.predictions.path / "*", RAW.labels_ts / "*", RAW.description),
    )


def _planned(request: RunRequest) -> tuple[str, ...]:
    """The plan and the folds, which training depends on."""
    return labels(PREPROCESSED.planned(request.plan).plan, PREPROCESSED.folds)


def _preparing(request: RunRequest) -> str:
    """The name of the step that plans."""
    return model_name("prepare", request.plan)


def _training_name(request: RunRequest, configuration: str, fold: FoldName) -> str:
    return f"train_{request.model(configuration)}_fold_{fold}"


def _models(names: Sequence[str], folds: Sequence[FoldName]) -> tuple[str, ...]:
    return labels(*(RESULTS.model(name).plan for name in names)) + _checkpoints(names, folds)


def _checkpoints(names: Sequence[str], folds: Sequence[FoldName]) -> tuple[str, ...]:
    models = map(RESULTS.model, names)
    return labels(*(model.fold(fold).checkpoint("final") for model in models for fold in folds))
