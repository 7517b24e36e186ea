"""What training writes down while it runs: log.jsonl always, and other watchers behind the same small
interface."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from balrsam_pipeline.files import own_descriptor, write_text
from balrsam_pipeline.json_text import JsonTextError, parse_json

LOG = logging.getLogger(__name__)
Record = Mapping[str, float | int | str]


class Logger(Protocol):
    """One watcher of a training run."""

    def log(self, record: Record) -> None:
        """Take in what happened: `event` is "epoch" (its figures) or "skipped" (a non-finite loss); `step`
        says when."""

    def close(self) -> None:
        """Write what is still to be written; nothing is logged afterwards."""


class JsonlLogger:
    """log.jsonl: one JSON object per epoch; on resume, what a killed run wrote beyond its checkpoint is cut
    off."""

    def __init__(self, path: Path, resumed_step: int) -> None:
        self.path = path
        kept = [record for record in read_log(path) if int(record["step"]) <= resumed_step]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))

    def log(self, record: Record) -> None:
        """Append a line."""
        with os.fdopen(own_descriptor(self.path, os.O_APPEND), "a", encoding="utf-8") as file:
            file.write(json.dumps(dict(record)) + "\n")

    def close(self) -> None:
        """The file is closed after every line already."""
        return


class TextLogger:
    """Warnings of `logging`; how training goes is said by `trainers.pace`, whatever happens."""

    def log(self, record: Record) -> None:
        """Say what was out of the ordinary."""
        if record["event"] == "skipped":
            LOG.warning("step %s skipped: loss %s on %s", record["step"], record["loss"], record["batch"])

    def close(self) -> None:
        """Every line is out already."""
        return


class Loggers:
    """Several loggers as one."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self._loggers = tuple(loggers)

    def log(self, record: Record) -> None:
        """Hand the record to each."""
        for logger in self._loggers:
            logger.log(record)

    def close(self) -> None:
        """Close each."""
        for logger in self._loggers:
            logger.close()


def read_log(path: Path) -> list[dict[str, float | int | str]]:
    """The records of a log.jsonl; a last line cut short by a kill is left out, a missing file is an empty
    log."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            record = parse_json(line)
        except JsonTextError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int) and "event" in record:
            records.append(record)
    return records
