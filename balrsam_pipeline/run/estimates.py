"""How long a step will take: from what was recorded, measured or asked for, else honestly unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.json_text import parse_json
from balrsam_pipeline.layout import FoldFolder, ModelFolder, ResultsFolder
from balrsam_pipeline.progress import in_words
from balrsam_pipeline.run.file_hashes import find_files
from balrsam_pipeline.run.records import StepRecord, read_record, record_path
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.step import Step
from balrsam_pipeline.run.together import on_devices, trained_together_by
from balrsam_pipeline.run.words import as_text

FOLD = re.compile(r"train_(?P<configuration>.+)_fold_(?P<fold>\d+|all)")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds that a step will take (None: unknown), and what that is taken from."""

    seconds: float | None
    source: str

    def __str__(self) -> str:
        return "unknown" if self.seconds is None else f"about {in_words(self.seconds)} ({self.source})"


UNKNOWN = Estimate(None, "")


def estimate(step: Step, request: RunRequest, folder: Path, fold_s: float | None = None) -> Estimate:
    """How long a step that is not done will take.

    Args:
        folder: where the run's records lie.
        fold_s: seconds that a fold is expected to train where nothing else tells.
    """
    fold = FOLD.fullmatch(step.name)
    if fold is not None:
        together = trained_together_by(step.needs, request)
        record = read_record(folder, together) if together is not None else None
        if together is not None and (record is None or record.state != "done"):
            return Estimate(0.0, f"trained by {together}")
        expected = _training(request, folder, fold["configuration"], fold["fold"])
        return _tried(fold_s) if expected is UNKNOWN else expected
    if step.name == on_devices(request):
        return _side_by_side(step, request, fold_s)
    record = read_record(folder, step.name)
    if record is not None and record.seconds is not None:
        return Estimate(record.seconds, "as last time")
    return _by_rate(step, request)


def trains_one_configuration(steps: Iterable[Step]) -> bool:
    """Whether all folds are of one configuration, so that a step of one tells of all."""
    folds = (FOLD.fullmatch(step.name) for step in steps)
    return len({fold["configuration"] for fold in folds if fold is not None}) == 1


def last_epoch(fold_folder: Path) -> dict[str, Any] | None:
    """The last epoch in a fold's log.jsonl, or None."""
    try:
        lines = FoldFolder(fold_folder).log.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in reversed(lines):
        try:
            value = parse_json(line)
        except ValueError:  # cut short by a kill
            continue
        if isinstance(value, dict) and value.get("event") == "epoch":
            return value
    return None


def fold_folder(request: RunRequest, configuration: str, fold: str) -> Path:
    """Where a fold's results go."""
    return ResultsFolder(request.results).model(configuration).fold(fold).path


def _tried(fold_s: float | None) -> Estimate:
    return (
        UNKNOWN
        if fold_s is None
        else Estimate(fold_s, "by the steps that were tried; validation not counted")
    )


def _side_by_side(step: Step, request: RunRequest, fold_s: float | None) -> Estimate:
    """Trainings that share devices: what is left of each, begun on the first that is free."""
    devices = [0.0] * max(1, min(len(request.devices), len(step.outputs)))
    for label in step.outputs:
        base, _, rest = label.partition("/")
        checkpoint = request.bases[base] / rest
        if checkpoint.is_file():
            continue
        left = _by_own_log(checkpoint.parent) or _by_budget(request)
        left = _tried(fold_s) if left is UNKNOWN else left
        if left.seconds is None:
            return UNKNOWN
        devices[devices.index(min(devices))] += left.seconds
    return Estimate(max(devices), "--max-minutes, the steps tried, or what is left by their logs")


def _by_budget(request: RunRequest) -> Estimate:
    if request.max_minutes is None:
        return UNKNOWN
    return Estimate(60 * request.max_minutes, "--max-minutes; validation not counted")


def _by_own_log(fold: Path) -> Estimate | None:
    """What is left of a training that was begun and is not done, with its validation where that is known."""
    begun = last_epoch(fold)
    left = begun.get("left_s") if begun is not None else None
    if begun is None or FoldFolder(fold).checkpoint("final").is_file() or not isinstance(left, (int, float)):
        return None
    validation = begun.get("validation_s")
    if isinstance(validation, (int, float)) and validation > 0:
        return Estimate(float(left + validation), "left by its log, with validation")
    return Estimate(float(left), "left by its log; validation not counted")


def _training(request: RunRequest, folder: Path, configuration: str, fold: str) -> Estimate:
    own = fold_folder(request, configuration, fold)
    if (left := _by_own_log(own)) is not None:
        return left
    for record in (
        read_record(folder, path.stem)
        for path in sorted(folder.glob(record_path(folder, f"train_{configuration}_fold_*").name))
    ):
        asked = as_text(request.max_minutes)
        alike = record is not None and record.inputs.get("--max-minutes", asked) == asked
        if record is not None and alike and record.seconds is not None:
            return Estimate(record.seconds, f"as {record.step.replace('_', ' ')} took")
    if (budget := _by_budget(request)) is not UNKNOWN:
        return budget
    model = ModelFolder(own.parent)
    for other in (model.fold(number).path for number in model.all_folds()):
        begun = last_epoch(other)
        spent, left = (begun.get("elapsed_s"), begun.get("left_s")) if begun is not None else (None, None)
        if isinstance(spent, (int, float)) and isinstance(left, (int, float)):
            return Estimate(
                float(spent + left),
                f"as the log of {other.name.replace('_', ' ')} expects; validation not counted",
            )
    return UNKNOWN


def _by_rate(step: Step, request: RunRequest) -> Estimate:
    """By the seconds per case that the same step took for other datasets."""
    cases = sum(label.startswith("raw/images") for label in find_files(step.inputs, request.bases))
    for path in sorted(
        record_path(ResultsFolder(folder).run, step.name) for folder in request.roots.results.glob("*")
    ):
        record: StepRecord | None = read_record(path.parent, step.name)
        if cases and record is not None and record.seconds is not None and record.cases:
            rate = record.seconds / record.cases
            return Estimate(rate * cases, f"{rate:.2g} s per image, measured on {path.parent.parent.name}")
    return UNKNOWN


def validation_dice(fold_folder: Path) -> float | None:
    """The mean Dice of a fold's validation, or None."""
    try:
        value = read_json(FoldFolder(fold_folder).validation.summary)["foreground_mean"]["Dice"]
    except (BalrsamError, KeyError, TypeError):
        return None
    return float(value) if isinstance(value, (int, float)) else None
