"""The standard streams of a command: open, whatever was closed; of any encoding; silent when nobody reads."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from balrsam_pipeline.printable import printable

STANDARD = (0, 1, 2)


def prepare_streams() -> None:
    """Make standard input, output and error safe to use in this process.

    Closed ones lead to /dev/null (else the next file opened would get their number, and what is printed would
    land in it). Signs that a terminal's encoding lacks are escaped. When the program that reads our output
    ends (`| head`), the work goes on and what is printed is dropped. Lines appear in a file as they are
    printed, in one order over both streams.
    """
    for descriptor in STANDARD:
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (stays open as long as we do)
    sys.stdout = _patient(sys.stdout, 1, acting=False)
    sys.stderr = _patient(sys.stderr, 2, acting=True)


def _patient(stream: TextIO | None, descriptor: int, acting: bool) -> TextIO:
    if stream is None:  # Python found the descriptor closed when it started
        raw = open(descriptor, "wb", closefd=False)  # noqa: SIM115
        return PatientStream(raw, acting, "utf-8", line_buffering=True)
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding = stream.encoding
    return PatientStream(stream.detach(), acting, encoding, line_buffering=True)


class PatientStream(io.TextIOWrapper):
    """A text stream that escapes what it cannot show, and goes on in silence when its reader is gone."""

    def __init__(self, raw: io.BufferedWriter, acting: bool, encoding: str, *, line_buffering: bool) -> None:
        """Wrap `raw`; `acting` lets control characters through, for progress bars."""
        super().__init__(raw, encoding, errors="backslashreplace", line_buffering=line_buffering)
        self._acting = acting

    def write(self, text: str) -> int:
        """Write `text`; nothing where nobody reads any more."""
        try:
            super().write(text if self._acting else printable(text))
        except OSError as problem:
            self._drop()
            if not isinstance(problem, BrokenPipeError):  # a full disk behind `> FILE` is told, once
                raise
        return len(text)

    def flush(self) -> None:
        """Flush; nothing where nobody reads any more."""
        try:
            super().flush()
        except OSError as problem:
            self._drop()
            if not isinstance(problem, BrokenPipeError):
                raise

    def _drop(self) -> None:
        """Let the descriptor lead to nowhere, so that what is still buffered can be flushed."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
