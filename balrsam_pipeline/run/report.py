"""A run on one screen: every step with where it stands, for `balrsam status` and `balrsam run --dry-run`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.execution import ClusterOptions
from balrsam_pipeline.execution.lock import Holder, lock_holder
from balrsam_pipeline.files import read_json
from balrsam_pipeline.layout import FoldFolder
from balrsam_pipeline.run.estimates import (
    FOLD,
    UNKNOWN,
    Estimate,
    estimate,
    fold_folder,
    in_words,
    last_epoch,
    validation_dice,
)
from balrsam_pipeline.run.execute import HASHES, REQUEST, check, known_steps, records_folder
from balrsam_pipeline.run.file_hashes import ContentHashes
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.state import StepState
from balrsam_pipeline.run.steps import Step

REASON_LENGTH = 110


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the report: where it stands in a word, its name, and what there is to say."""

    status: str
    name: str
    note: str


def dry_run_lines(request: RunRequest) -> list[str]:
    """The graph of a run with where every step stands and how long it will take; nothing is changed on
    disk."""
    hashes, steps = ContentHashes(records_folder(request) / HASHES), known_steps(request)
    lines, left, unknown = [], 0.0, 0
    undone: set[str] = set()
    for step in steps:
        state = check(step, request, hashes)
        waits = [name for name in step.needs if name in undone]
        if state.status == "done" and not waits:
            lines.append(f"done         {step.name}")
            continue
        undone.add(step.name)
        expected = estimate(step, request, records_folder(request))
        left += expected.seconds or 0.0
        unknown += expected.seconds is None
        lines += _planned(step, state, waits, expected)
    if len(steps) == 1:
        lines.append(
            "to do        the other steps are known when there is a plan: train and pool, choose, predict, "
            "score"
        )
        unknown += 1
    if undone:
        lines.append(
            f"time: {'at least ' if unknown else 'about '}{in_words(left)}"
            + (", the rest unknown" if unknown else "")
        )
    return lines


def status_lines(request: RunRequest) -> list[str]:
    """What is done, running, failed and to do, one line per step."""
    folder = records_folder(request)
    hashes, running = ContentHashes(folder / HASHES), lock_holder(folder)
    lines = [
        _status_of(step, check(step, request, hashes), request, running) for step in known_steps(request)
    ]
    width = max(len(line.name) for line in lines)
    head = f"{request.dataset.name}: " + (
        f"a run is going on, {running}" if running else "no run is going on"
    )
    return [head, *(f"  {line.status:<12} {line.name:<{width}}  {line.note}".rstrip() for line in lines)]


def remembered(request: RunRequest) -> RunRequest:
    """The request with the choices of the last `balrsam run` on this dataset, as far as they can be read."""
    try:
        value: Any = read_json(records_folder(request) / REQUEST)
        return dataclasses.replace(
            request,
            configurations=tuple(map(str, value["configurations"])) if value["configurations"] else None,
            folds=tuple(map(int, value["folds"])) if value["folds"] else None,
            max_minutes=float(value["max_minutes"]) if value["max_minutes"] else None,
            epochs=int(value["epochs"]) if value["epochs"] else None,
            settings=Path(value["settings"]) if value["settings"] else None,
            options={
                str(command): {str(name): tuple(map(str, words)) for name, words in options.items()}
                for command, options in value.get("options", {}).items()
            },
            cluster=_cluster(value.get("cluster", [])),
        )
    except (BalrsamError, AttributeError, KeyError, TypeError, ValueError):
        return request


def _cluster(words: list[str]) -> ClusterOptions | None:
    """The cluster that `cluster_words` wrote down."""
    given = dict(zip(words[::2], words[1::2], strict=True))
    if "--cluster" not in given:
        return None
    ca, cert, key = (
        Path(given[name]) if name in given else None for name in ("--tls-ca", "--tls-cert", "--tls-key")
    )
    return ClusterOptions(address=given["--cluster"], tls_ca=ca, tls_cert=cert, tls_key=key)


def _planned(step: Step, state: StepState, waits: list[str], expected: Estimate) -> list[str]:
    status = "stale" if state.status == "done" else state.status
    why = state.why or (
        f"if {', '.join(waits)} changes what it is made from" if waits and state.status == "done" else ""
    )
    reason = f": {why}" if why else ""
    return [f"{status:<12} {step.name}{reason}", f"{'':<12}   {step}", f"{'':<12}   time: {expected}"]


def _status_of(step: Step, state: StepState, request: RunRequest, running: Holder | None) -> Line:
    fold = FOLD.fullmatch(step.name)
    own = fold_folder(request, fold["configuration"], fold["fold"]) if fold else None
    holder = lock_holder(own) if own is not None else None
    if holder is not None or (state.status == "interrupted" and running is not None):
        return Line("running", step.name, f"{holder or running}{_progress(own) if own else ''}")
    if state.status == "done" and state.record is not None:
        dice = validation_dice(own) if own is not None else None
        took = f", {in_words(state.record.seconds)}" if state.record.seconds is not None else ""
        return Line(
            "done",
            step.name,
            f"{state.record.begun}{took}" + (f", Dice {dice:.4f}" if dice is not None else ""),
        )
    note = state.why
    if state.status == "failed" and state.record is not None:
        note = "; ".join(line.strip() for line in state.record.message.splitlines() if line.strip())
    if state.status in ("interrupted", "to do") and own is not None:
        note += _progress(own)
    expected = estimate(step, request, records_folder(request)) if state.status != "failed" else UNKNOWN
    time = f"time: {expected}" if expected.seconds is not None else ""
    return Line(
        state.status, step.name, "; ".join(part for part in (note[: 2 * REASON_LENGTH], time) if part)
    )


def _progress(fold: Path) -> str:
    """How far training is, by the last line of its log."""
    epoch = last_epoch(fold)
    if epoch is None or FoldFolder(fold).checkpoint("final").is_file():
        return ""
    try:
        share, dice, left = float(epoch["progress"]), float(epoch["quick_dice"]), float(epoch["left_s"])
        return (
            f"; epoch {int(epoch['epoch'])}, {share:.0%}, quick validation Dice {dice:.3f}, "
            f"{in_words(left)} left"
        )
    except (KeyError, TypeError, ValueError):
        return ""
