"""What was done without `balrsam run`: commands typed by hand leave no record, but results and locks."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.execution.lock import Holder, lock_holder
from balrsam_pipeline.files import read_json
from balrsam_pipeline.folds import ALL
from balrsam_pipeline.layout import FoldFolder, PlanFolder, PreprocessedFolder, RawFolder, ResultsFolder
from balrsam_pipeline.plan import Plan, read_plan
from balrsam_pipeline.plan_names import option_of
from balrsam_pipeline.run.estimates import FOLD, fold_folder
from balrsam_pipeline.run.handed_on import settings_for
from balrsam_pipeline.run.records import StepRecord
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.step import Step

POOLED, PREPARE, PLANNING = "crossval_", "prepare", "plan_and_preprocess"
MEMORY, LIKE = "--gpu-memory-gb", "--like"
NO_DECISIONS = (
    "--configurations",
    "--offline",
    MEMORY,
)  # options that no plan notes as overrides


def has_results(step: Step, request: RunRequest) -> bool:
    """Whether all that a step makes is there, whoever made it."""
    results = ResultsFolder(request.results)
    fold = FOLD.fullmatch(step.name)
    if fold is not None:
        own = FoldFolder(fold_folder(request, fold["configuration"], fold["fold"]))
        validated = fold["fold"] == ALL or own.validation.summary.is_file()
        return own.checkpoint("final").is_file() and validated
    if step.name.startswith(POOLED):
        return results.model(step.name.removeprefix(POOLED)).crossval.summary.is_file()
    made = {
        PREPARE: lambda: _is_prepared(PreprocessedFolder(request.preprocessed), request.planned),
        "find_best_configuration": results.best_configuration.is_file,
        "predict": lambda: _is_predicted(RawFolder(request.dataset), request.predictions),
        "evaluate": results.predictions.evaluation.summary.is_file,
    }
    return _kind(step) in made and made[_kind(step)]()


def holder_of(step: Step, request: RunRequest) -> Holder | None:
    """Which process is at work on what a step makes, whoever started it."""
    results = ResultsFolder(request.results)
    fold = FOLD.fullmatch(step.name)
    if fold is not None:
        return lock_holder(fold_folder(request, fold["configuration"], fold["fold"]))
    if step.name.startswith(POOLED):
        return lock_holder(results.model(step.name.removeprefix(POOLED)).crossval.path)
    folders = {
        PREPARE: request.preprocessed,
        "find_best_configuration": request.results,
        "predict": request.predictions,
    }
    return lock_holder(folders[_kind(step)]) if _kind(step) in folders else None


def trained_by_hand(request: RunRequest) -> tuple[str, ...] | None:
    """The configurations of the plan that have a model folder; None where there is none."""
    models = ResultsFolder(request.results).models()
    names = tuple(
        model.configuration for model in models if model.plan_name == request.plan and model.all_folds()
    )
    return names or None


def decides_planning(request: RunRequest) -> bool:
    """Whether the run itself was told something that rules decide otherwise."""
    return bool(settings_for(PLANNING, request.options).keys() - {"--offline"})


def planned(request: RunRequest) -> Plan | None:
    """The plan that is there; None where there is none that can be read."""
    try:
        return read_plan(request.planned.plan)
    except BalrsamError:
        return None


def is_made_by_hand(plan: Plan, record: StepRecord | None) -> bool:
    """Whether a plan was made by hand: no run has made one, the last one was told to keep it, or it was asked
    for other decisions than those in it."""
    if record is None or record.kept_plan == plan.sha256():
        return True
    asked = {name: value for name, value in record.inputs.items() if name.startswith("--")}
    if "like" in plan.overrides or LIKE in asked:
        return not ("like" in plan.overrides and LIKE in asked)
    memory = str(plan.gpu_memory_gb)
    if plan.gpu_memory_gb is not None and _numbers(asked.get(MEMORY, memory)) != _numbers(memory):
        return True
    decided = {option_of(name): _numbers(value) for name, value in plan.overrides.items()}
    return decided != {name: _numbers(value) for name, value in asked.items() if name not in NO_DECISIONS}


def _numbers(value: str) -> tuple[str, ...]:
    """An option's words, numbers as plans note them, with four digits."""
    words = value.replace(" × ", " ").split()
    try:
        return tuple(f"{float(word):.4g}" for word in words)
    except ValueError:
        return tuple(words)


def _kind(step: Step) -> str:
    """The step's name, without that of the plan where it makes one."""
    return PREPARE if step.command == PLANNING else step.name


def is_begun(fold: Path) -> bool:
    """Whether a fold was begun and saved, but not trained to its end."""
    files = FoldFolder(fold)
    return files.has_checkpoint() and not files.checkpoint("final").is_file()


def _is_prepared(files: PreprocessedFolder, planned: PlanFolder) -> bool:
    """Whether there is a plan, and every case of the folds is in every store."""
    try:
        folds = read_json(files.folds)
        cases = {case for part in ("train", "val") for fold in folds for case in fold[part]}
    except (BalrsamError, KeyError, TypeError):
        return False
    stores = {path.parent for path in planned.path.glob("*/*.b2nd")}
    complete = all((store / f"{case}.json").is_file() for store in stores for case in cases)
    return planned.plan.is_file() and bool(stores) and complete


def _is_predicted(raw: RawFolder, predictions: Path) -> bool:
    """Whether every test case has a prediction."""
    cases = {path.name.rpartition("_0000.")[0] for path in raw.images_ts.glob("*_0000.*")}
    made = {path.name.partition(".")[0] for path in predictions.glob("*.*")}
    return bool(cases) and cases <= made
