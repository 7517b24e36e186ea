"""What ITK has to say about a file, logged with the file's name instead of scattered over the terminal."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk

LOG = logging.getLogger(__name__)
LONGEST = 300  # characters of a message


class _Collector(sitk.LoggerBase):  # type: ignore[misc]  # SimpleITK has no types
    """Keeps the warnings of the thread that reads; ITK asks for one logger for the whole process."""

    def __init__(self) -> None:
        super().__init__()
        self.own = threading.local()

    def DisplayText(self, text: str) -> None:  # ITK's names
        """ITK's plain output is of no use here."""

    def DisplayErrorText(self, text: str) -> None:
        """Errors come as exceptions too."""

    def DisplayWarningText(self, text: str) -> None:
        """Keep a warning for whoever reads in this thread."""
        getattr(self.own, "warnings", []).append(text)

    def DisplayGenericOutputText(self, text: str) -> None:
        """As `DisplayText`."""

    def DisplayDebugText(self, text: str) -> None:
        """As `DisplayText`."""


_COLLECTOR = _Collector()
_COLLECTOR.SetAsGlobalITKLogger()
sitk.ProcessObject.SetGlobalWarningDisplay(True)


@contextmanager
def itk_messages_of(path: Path) -> Iterator[None]:
    """Log the warnings that ITK gives while it reads or writes `path`, once each, when that is done."""
    before = getattr(_COLLECTOR.own, "warnings", None)
    _COLLECTOR.own.warnings = []
    try:
        yield
    finally:
        for text in dict.fromkeys(map(_told, _COLLECTOR.own.warnings)):
            LOG.warning("%s: ITK warns: %s", path, text)
        _COLLECTOR.own.warnings = before if before is not None else []


def _told(text: str) -> str:
    """ITK's message without the line of its source and the address of its object."""
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING: In ")
    ]
    return " ".join(line.split("): ", 1)[-1] for line in lines)[:LONGEST]
