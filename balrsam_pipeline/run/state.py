"""Where a step stands: done, stale and why, interrupted, failed, or to do. Decided by content, never by
dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from balrsam_pipeline.plan_names import RECOMMENDED
from balrsam_pipeline.printable import listed
from balrsam_pipeline.run.file_hashes import ContentHashes, find_files
from balrsam_pipeline.run.records import StepRecord, read_record
from balrsam_pipeline.run.step import Step

# settings of earlier versions with which a step made what it would make now, and more
AS_GOOD = {("--configurations", "all", RECOMMENDED)}
Status = Literal["done", "stale", "partly", "interrupted", "stopped", "failed", "to do"]
SHOWN = 2  # reasons spelled out; the others are counted


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """Where a step stands.

    Attributes:
        status: in one word; `why` in a few more.
        inputs: what it would be made from now.
        damaged: outputs that are missing or changed since they were written, by label.
        same_inputs: it was begun before, with the very same inputs.
        kept_plan: the hash of a plan made by hand that this step is told to keep; empty where it is not.
        own_plan: the SHA-256 of a file, the plan of an earlier run that this step may replace.
        record: what became of it when it was last begun.
    """

    status: Status
    why: str
    inputs: dict[str, str]
    damaged: tuple[str, ...] = ()
    same_inputs: bool = False
    kept_plan: str = ""
    own_plan: str = ""
    record: StepRecord | None = None


def state_of(step: Step, bases: Mapping[str, Path], folder: Path, hashes: ContentHashes) -> StepState:
    """Compare a step's record with what is there now.

    Args:
        bases: first part of a label -> folder.
        folder: where records lie.
    """
    inputs = current_inputs(step, bases, hashes)
    record = read_record(folder, step.name)
    if record is None:
        return StepState(status="to do", why="", inputs=inputs)
    damaged = _damaged(record, bases, hashes)
    changes = _changes(record.inputs, inputs)
    changes += [f"{label} {how}" for label, how in damaged.items()]
    status, why = _status(record, changes)
    return StepState(
        status=status,
        why=why,
        inputs=inputs,
        damaged=tuple(damaged),
        same_inputs=record.inputs == inputs,
        record=record,
    )


def current_inputs(step: Step, bases: Mapping[str, Path], hashes: ContentHashes) -> dict[str, str]:
    """Settings and files that the step would be made from now: label -> value or SHA-256."""
    files = find_files(step.inputs, bases) | {
        label: path for label, path in step.other_inputs.items() if path.is_file()
    }
    contents = hashes.of(files.values())
    return dict(step.settings) | {label: contents[path] for label, path in files.items()}


def _status(record: StepRecord, changes: list[str]) -> tuple[Status, str]:
    if record.state == "failed":
        return "failed", record.message.splitlines()[0] if record.message else ""
    if record.state == "running":
        return "interrupted", f"begun {record.begun_here}, killed; the same command goes on"
    if record.state == "stopped":
        return "stopped", f"begun {record.begun_here}; the same command goes on"
    if changes:
        return "stale", listed(changes, SHOWN)
    return ("partly", "some cases failed") if record.state == "partly" else ("done", "")


def _changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    lines = []
    for label in sorted(before.keys() | now.keys()):
        old, new = before.get(label), now.get(label)
        if old == new or (label, old, new) in AS_GOOD:
            continue
        if label.startswith("--") and old is not None and new is not None and len(old) < 64:
            lines.append(f"{label} {old} -> {new}")
        else:
            lines.append(
                f"{label} {'is new' if old is None else 'is gone' if new is None else 'has changed'}"
            )
    return lines


def _damaged(record: StepRecord, bases: Mapping[str, Path], hashes: ContentHashes) -> dict[str, str]:
    """Outputs that are not as the step wrote them: label -> how."""
    present: dict[str, Path] = {}
    damaged: dict[str, str] = {}
    for label, output in record.outputs.items():
        base, _, rest = label.partition("/")
        path = bases[base] / rest if base in bases else Path(rest)
        if not path.is_file():
            damaged[label] = "is gone"
        elif path.stat().st_size != output.size:
            damaged[label] = "was changed"
        else:
            present[label] = path
    contents = hashes.of(present.values())
    damaged |= {
        label: "was changed"
        for label, path in present.items()
        if contents[path] != record.outputs[label].sha256
    }
    return dict(sorted(damaged.items()))
