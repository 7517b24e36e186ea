"""Where log lines go: to standard error (with the time, unless a terminal shows them as they come), and to
log files beside what is made."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from io import TextIOWrapper
from pathlib import Path

from balrsam_pipeline.files import own_descriptor
from balrsam_pipeline.printable import PrintableFormatter
from balrsam_pipeline.terminal import console, is_live_terminal

STAMPED, STAMP = "%(asctime)s  %(message)s", "%Y-%m-%d %H:%M:%S"
PACKAGES = ("balrsam_pipeline", "planners", "trainers", "evaluation")
COLOURS = {logging.WARNING: "yellow", logging.ERROR: "red"}


def log_to_stderr() -> None:
    """Show lines of INFO and above, unless logging was set up already."""
    root = logging.getLogger()
    if root.handlers:
        return
    handler = _TerminalHandler() if is_live_terminal() else logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        PrintableFormatter("%(message)s") if is_live_terminal() else PrintableFormatter(STAMPED, STAMP)
    )
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.getLogger("numexpr").setLevel(logging.WARNING)  # comes with blosc2, and announces its threads


@contextmanager
def also_logged_to(path: Path) -> Iterator[Callable[[str], None]]:
    """Append what our packages log to the file at `path` too, each line with its time.

    Yields what adds a line to the file alone.

    Where nobody set up logging (a script that imports us), lines of INFO still reach the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = _OwnFileHandler(path, encoding="utf-8", errors="backslashreplace", delay=True)
    handler.setFormatter(PrintableFormatter(STAMPED, STAMP))
    loggers = [logging.getLogger(name) for name in PACKAGES]
    unheard = [logger for logger in loggers if logger.level == logging.NOTSET]
    for logger in loggers:
        logger.addHandler(handler)
    for logger in unheard:
        logger.setLevel(min(logging.INFO, logging.getLogger().level or logging.INFO))
    try:
        yield partial(_note, handler)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        for logger in unheard:
            logger.setLevel(logging.NOTSET)
        handler.close()


def _note(handler: logging.Handler, line: str) -> None:
    handler.handle(logging.makeLogRecord({"msg": line}))


def last_line(path: Path) -> str | None:
    """The last line of a log file, with its time; None where there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    return lines[-1] if lines else None


class _OwnFileHandler(logging.FileHandler):
    """Appends to a file of its own, never through a link."""

    def _open(self) -> TextIOWrapper:
        descriptor = own_descriptor(Path(self.baseFilename), os.O_APPEND)
        return os.fdopen(descriptor, "a", encoding=self.encoding, errors=self.errors)


class _TerminalHandler(logging.Handler):
    """Prints above the live line, which itself shows what progress has to say."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record."""
        if getattr(record, "progress", False):
            return
        from rich.text import Text

        text = Text(self.format(record), style=COLOURS.get(record.levelno, ""))
        console().print(text, soft_wrap=True)
