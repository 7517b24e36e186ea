"""A command on a terminal of 80 columns, and what stands on its screen at a moment, as a picture."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import termios
from collections.abc import Callable, Sequence
from pathlib import Path

COLUMNS, ROWS = 80, 34
_TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b.|\r|\n|[^\x1b\r\n]+")
FONT = re.compile(
    r"@font-face \{\{.*?\}\}\s*", re.DOTALL
)  # rich would fetch fonts; a picture fetches nothing


class Screen:
    """Lines of cells (letter, colour sequence), as a terminal keeps them; scrolled lines stay."""

    def __init__(self) -> None:
        self.lines: list[list[tuple[str, str]]] = [[]]
        self._row, self._column, self._colour = 0, 0, ""

    def feed(self, text: str) -> None:
        """Take what a program wrote: letters, line feeds, colours, and the moves that a live line needs."""
        for match in _TOKEN.finditer(text):
            if match[2] is not None:
                self._control(match[1], match[2])
            elif match[0] == "\r":
                self._column = 0
            elif match[0] == "\n":
                self._row += 1
                while self._row >= len(self.lines):
                    self.lines.append([])
            elif not match[0].startswith("\x1b"):
                for letter in match[0]:
                    self._write(letter)

    def _control(self, numbers: str, letter: str) -> None:
        if letter == "m":
            self._colour = "" if numbers in ("", "0") else f"{self._colour}\x1b[{numbers}m"
        elif letter == "A":
            self._row = max(0, self._row - int(numbers or 1))
        elif letter == "K":
            kept = 0 if numbers == "2" else self._column
            del self.lines[self._row][kept:]

    def _write(self, letter: str) -> None:
        line = self.lines[self._row]
        line += [(" ", "")] * (self._column + 1 - len(line))
        line[self._column] = (letter, self._colour)
        self._column += 1

    def last_line(self) -> str:
        """The lowest line that holds letters, without colours."""
        lines = ["".join(letter for letter, _ in line).rstrip() for line in self.lines]
        return next((line for line in reversed(lines) if line), "")

    def picture(self, title: str) -> str:
        """The last lines as SVG."""
        from rich._export_format import CONSOLE_SVG_FORMAT
        from rich.console import Console
        from rich.text import Text

        console = Console(
            record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
        )
        rows = [
            line[start : start + COLUMNS]
            for line in self.lines
            for start in range(0, max(len(line), 1), COLUMNS)
        ]
        for row in rows[-ROWS:]:
            cells = "".join(f"\x1b[0m{colour}{letter}" for letter, colour in row)
            console.print(Text.from_ansi(cells) if row else "", soft_wrap=True)
        return console.export_svg(
            title=title, code_format=FONT.sub("", CONSOLE_SVG_FORMAT), unique_id="terminal"
        )


def run_on_a_screen(
    command: Sequence[str], folder: Path, environment: dict[str, str], seen: Callable[[Screen], None]
) -> int:
    """Run a command with a terminal; `seen` is called whenever it has written. Returns its exit code."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (ROWS, COLUMNS))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment | {"TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen, rest = Screen(), b""
    while True:
        try:
            rest += os.read(ours, 1 << 16)
        except OSError:  # Linux says so when the other end is closed
            break
        whole = rest.decode("utf-8", "ignore")
        screen.feed(whole)
        rest = b""
        seen(screen)
    os.close(ours)
    return process.wait()
