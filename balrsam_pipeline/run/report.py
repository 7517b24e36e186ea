"""A run on one screen: every step with where it stands, for `balrsam status` and `balrsam run --dry-run`."""

from __future__ import annotations

import dataclasses
import textwrap
from argparse import ArgumentTypeError
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.execution import ClusterOptions
from balrsam_pipeline.execution.lock import Holder, lock_holder
from balrsam_pipeline.files import read_json
from balrsam_pipeline.folds import fold_name
from balrsam_pipeline.layout import FoldFolder, ResultsFolder
from balrsam_pipeline.logs import last_line
from balrsam_pipeline.progress import in_words
from balrsam_pipeline.run.by_hand import has_results, holder_of, is_begun, trained_by_hand
from balrsam_pipeline.run.estimates import (
    FOLD,
    UNKNOWN,
    Estimate,
    estimate,
    fold_folder,
    last_epoch,
    validation_dice,
)
from balrsam_pipeline.run.execute import HASHES, REQUEST, check, known_steps, records_folder
from balrsam_pipeline.run.file_hashes import ContentHashes
from balrsam_pipeline.run.records import read_record
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.state import Status, StepState
from balrsam_pipeline.run.step import Step
from balrsam_pipeline.run.words import shared_words

REASON_LENGTH = 110
LINE_WIDTH, NOTE = 80, " " * 15


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
    lines = [f"folders of every command: {shared_words(request)}"]
    left, unknown = 0.0, 0
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
        lines.append(_time_line(left, unknown))
    return lines


def time_line(request: RunRequest, hashes: ContentHashes, fold_s: float | None = None) -> str:
    """How long the steps that are not done will take together; empty where all are.

    Args:
        fold_s: seconds that a fold is expected to train where nothing else tells.
    """
    folder = records_folder(request)
    undone = [step for step in known_steps(request) if check(step, request, hashes).status != "done"]
    expected = [estimate(step, request, folder, fold_s).seconds for step in undone]
    return _time_line(sum(item or 0.0 for item in expected), expected.count(None)) if undone else ""


def _time_line(left_s: float, unknown: int) -> str:
    if unknown and not left_s:
        return "time: unknown"
    return f"time: {'at least ' if unknown else 'about '}{in_words(left_s)}" + (
        ", the rest unknown" if unknown else ""
    )


def status_lines(request: RunRequest) -> list[str]:
    """What is done, running, stopped, failed and to do, whether `balrsam run` or a command typed by hand did
    it."""
    folder = records_folder(request)
    hashes, running = ContentHashes(folder / HASHES), lock_holder(folder)
    lines = [
        _status_of(step, check(step, request, hashes), request, running) for step in known_steps(request)
    ]
    at_work = [line.name for line in lines if line.status == "running"]
    if running:
        head = f"a run is going on, {running}"
    elif at_work:
        head = f"at work, by hand: {', '.join(at_work)}"
    else:
        head = "nothing is going on"
    width = max(len(line.name) for line in lines)
    return [f"{request.dataset.name}: {head}", *(text for line in lines for text in _wrapped(line, width))]


def recorded_lines(request: RunRequest) -> list[Line]:
    """Where every step stands by its record alone: quick, since no file is read to see whether it has
    changed."""
    folder = records_folder(request)
    running = lock_holder(folder)
    lines = []
    for step in known_steps(request):
        record = read_record(folder, step.name)
        status: Status = "to do" if record is None else "interrupted"
        if record is not None and record.state != "running":
            status = record.state
        state = StepState(status=status, why="", inputs={}, record=record)
        lines.append(_status_of(step, state, request, running))
    return lines


def _wrapped(line: Line, width: int) -> list[str]:
    """The line with its note beside it, or below where that would be too long."""
    start = f"  {line.status:<12} {line.name:<{width}}"
    beside = f"{start}  {line.note}".rstrip()
    if len(beside) <= LINE_WIDTH:
        return [beside]
    return [
        start.rstrip(),
        *textwrap.wrap(line.note, LINE_WIDTH, initial_indent=NOTE, subsequent_indent=NOTE),
    ]


def remembered(request: RunRequest) -> RunRequest:
    """The request with the choices of the last `balrsam run` on this dataset, as far as they can be read;
    else with the configurations that were trained by hand."""
    try:
        value: Any = read_json(records_folder(request) / REQUEST)
        return dataclasses.replace(
            request,
            plan=str(value.get("plan", "")),
            configurations=tuple(map(str, value["configurations"])) if value["configurations"] else None,
            every_configuration=bool(value.get("every_configuration", False)),
            folds=tuple(map(fold_name, value["folds"])) if value["folds"] else None,
            max_minutes=float(value["max_minutes"]) if value["max_minutes"] else None,
            epochs=int(value["epochs"]) if value["epochs"] else None,
            settings=Path(value["settings"]) if value["settings"] else None,
            options={
                str(command): {str(name): tuple(map(str, words)) for name, words in options.items()}
                for command, options in value.get("options", {}).items()
            },
            cluster=_cluster(value.get("cluster", [])),
            devices=tuple(map(str, value.get("devices", ()))),
        )
    except (
        BalrsamError,
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        OverflowError,
        ArgumentTypeError,
    ):
        return dataclasses.replace(request, configurations=trained_by_hand(request))


def _cluster(words: list[str]) -> ClusterOptions | None:
    """The cluster that `cluster_words` wrote down."""
    given = dict(zip(words[::2], words[1::2], strict=True))
    if "--cluster" not in given:
        return None
    ca, cert, key = (
        Path(given[name]) if name in given else None for name in ("--tls-ca", "--tls-cert", "--tls-key")
    )
    options = ClusterOptions(address=given["--cluster"], tls_ca=ca, tls_cert=cert, tls_key=key)
    return dataclasses.replace(options, wait_s=float(given.get("--cluster-wait", options.wait_s)))


def _planned(step: Step, state: StepState, waits: list[str], expected: Estimate) -> list[str]:
    status = "stale" if state.status == "done" else state.status
    why = state.why or (
        f"if {', '.join(waits)} changes what it is made from" if waits and state.status == "done" else ""
    )
    reason = f": {why}" if why else ""
    return [f"{status:<12} {step.name}{reason}", f"{'':<12}   {step.shown()}", f"{'':<12}   time: {expected}"]


def _status_of(step: Step, state: StepState, request: RunRequest, running: Holder | None) -> Line:
    fold = FOLD.fullmatch(step.name)
    own = fold_folder(request, fold["configuration"], fold["fold"]) if fold else None
    holder = holder_of(step, request)
    if holder is not None or (state.status == "interrupted" and running is not None):
        return Line("running", step.name, f"{holder or running}{_said(own, request)}")
    if state.status == "done" and state.record is not None:
        took = f", {in_words(state.record.seconds)}" if state.record.seconds is not None else ""
        return Line("done", step.name, f"{state.record.begun_here}{took}{_dice(own)}")
    if state.status == "to do" and has_results(step, request):
        return Line("done", step.name, f"by hand{_dice(own)}")
    status, note = state.status, state.why
    if status == "to do" and own is not None and is_begun(own):
        status, note = "stopped", "begun by hand; the same command goes on"
    if status == "failed" and state.record is not None:
        note = "; ".join(line.strip() for line in state.record.message.splitlines() if line.strip())
    if status in ("interrupted", "stopped", "to do") and own is not None:
        note += _progress(own)
    expected = estimate(step, request, records_folder(request)) if status != "failed" else UNKNOWN
    time = f"time: {expected}" if expected.seconds is not None else ""
    return Line(status, step.name, "; ".join(part for part in (note[: 2 * REASON_LENGTH], time) if part))


def _dice(fold: Path | None) -> str:
    dice = validation_dice(fold) if fold is not None else None
    return f", Dice {dice:.4f}" if dice is not None else ""


def _said(fold: Path | None, request: RunRequest) -> str:
    """What the command at work said last, with the time of day."""
    log = FoldFolder(fold).text_log if fold is not None else ResultsFolder(request.results).run_log
    line = last_line(log)
    return f"; {line.partition(' ')[2]}" if line else _progress(fold) if fold is not None else ""


def _progress(fold: Path) -> str:
    """How far training is, by the last line of its log."""
    epoch = last_epoch(fold)
    if epoch is None or FoldFolder(fold).checkpoint("final").is_file():
        return ""
    try:
        share, left = float(epoch["progress"]), float(epoch["left_s"])
        scored = f"quick validation Dice {float(epoch['quick_dice']):.3f}, " if "quick_dice" in epoch else ""
        return f"; epoch {int(epoch['epoch'])}, {share:.0%}, {scored}{in_words(left)} left"
    except (KeyError, TypeError, ValueError, OverflowError):
        return ""
