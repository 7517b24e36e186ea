"""The record of a step, `results/DATASET/run/STEP.json`: what it was made from, what it made, and how it
went."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from balrsam_pipeline import __version__
from balrsam_pipeline.errors import BalrsamError, UsageError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.serialise import from_json, to_json

State = Literal["running", "stopped", "done", "partly", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A file that a step wrote."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """What became of a step when it was last begun.

    Attributes:
        state: "running" (where its process is gone: killed), "stopped" (by Ctrl-C or a signal), "done",
            "partly" (some cases failed), "failed".
        inputs: settings and files that it was made from: label -> value or SHA-256.
        outputs: files that it made, by label; `cases` how many images were among its inputs.
        seconds: that it took; None while it runs, and where it went on with what an earlier attempt left.
        message: why it failed.
        kept_plan: the hash of a plan made by hand that it was told to keep; empty where there was none.
        replaced_plan: the SHA-256 of a file, the plan of an earlier run that this one was to replace.
    """

    schema_version: int = 1
    step: str
    command: str
    state: State
    inputs: dict[str, str]
    outputs: dict[str, Output] = field(default_factory=dict)
    cases: int = 0
    begun: str
    pid: int
    host: str
    version: str = __version__
    seconds: float | None = None
    message: str = ""
    kept_plan: str = ""
    replaced_plan: str = ""

    @property
    def begun_here(self) -> str:
        """When it was begun, by the clock of this machine, as people write it."""
        try:
            return datetime.fromisoformat(self.begun).astimezone().strftime("%Y-%m-%d %H:%M")
        except ValueError:
            return self.begun


def begin(step: str, command: str, inputs: dict[str, str], cases: int) -> StepRecord:
    """The record of a step that begins now in this process."""
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    host = socket.gethostname()
    return StepRecord(
        step=step,
        command=command,
        state="running",
        inputs=inputs,
        cases=cases,
        begun=begun,
        pid=os.getpid(),
        host=host,
    )


def record_path(folder: Path, step: str) -> Path:
    """Where the record of a step lies."""
    return folder / f"{step}.json"


def read_record(folder: Path, step: str) -> StepRecord | None:
    """The record of a step; None where there is none or it cannot be understood, which only means doing the
    step again."""
    try:
        return from_json(
            StepRecord, read_json(record_path(folder, step)), record_path(folder, step), UsageError
        )
    except BalrsamError:
        return None


def write_record(folder: Path, record: StepRecord) -> None:
    """Write the record of a step, atomically."""
    write_json(record_path(folder, record.step), to_json(record))
