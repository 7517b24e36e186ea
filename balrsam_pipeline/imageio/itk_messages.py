"""What ITK has to say about a file, logged with the file's name instead of scattered over the terminal."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk

LOG = logging.getLogger(__name__)
LONGEST = 300  # characters of a message
MOST_ALIKE = 2  # files of which a message is shown; of all it would hide the rest of the output
_SEEN: Counter[str] = Counter()  # messages without file names, in this process


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
    """Log the warnings that ITK gives while it reads or writes `path`, once each, when that is done.

    Of a message that many files give, those after the first two are logged at level INFO; what contradicts
    itself in a header is listed by `balrsam verify` with all its cases.
    """
    before = getattr(_COLLECTOR.own, "warnings", None)
    _COLLECTOR.own.warnings = []
    try:
        yield
    finally:
        for text in dict.fromkeys(map(_told, _COLLECTOR.own.warnings)):
            _tell(path, text.replace(str(path), path.name))
        _COLLECTOR.own.warnings = before if before is not None else []


def _tell(path: Path, text: str) -> None:
    kind = text.replace(path.name, "")
    _SEEN[kind] += 1
    level = logging.WARNING if _SEEN[kind] <= MOST_ALIKE else logging.INFO
    more = "; the same of other files is not shown" if _SEEN[kind] == MOST_ALIKE else ""
    LOG.log(level, "%s: ITK warns: %s%s", path, text, more)


def _told(text: str) -> str:
    """ITK's message without the line of its source and the address of its object."""
    lines = [
        line.strip() for line in text.splitlines() if line.strip() and not line.startswith("WARNING: In ")
    ]
    return " ".join(line.split("): ", 1)[-1] for line in lines)[:LONGEST]
