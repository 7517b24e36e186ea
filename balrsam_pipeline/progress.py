"""What is going on and how far it is, said while it lasts: a live line on a terminal; elsewhere, and in every
log file, a line each `SAY_EVERY_S` seconds, whatever the work itself does meanwhile.

Work is a stack of phases ("fold 0", in it "validation"); a thread speaks for the innermost.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from balrsam_pipeline.printable import one_line
from balrsam_pipeline.terminal import LiveLine, is_live_terminal

T = TypeVar("T")
LOG = logging.getLogger(__name__)
SAY_EVERY_S = 10.0
_LATE = "longer than expected, going on"
_STANDS = re.compile(rf".*?: (\d+ of \d+[^,]*, )?(about [^,]+ left|[^,]+ so far|finishing|{_LATE})")
_DICE = re.compile(r", Dice \d\.\d+")
MINUTES_FROM_S, HOURS_FROM_S = 100.0, 100 * 60.0


class Phase:
    """One stretch of work: its name, how much of it is done, and what else there is to say.

    Args:
        what: its name; that of a command begins with "balrsam" and is not said before what it does.
        total: how many `unit` it has; None where that is not known.
    """

    def __init__(self, what: str, total: int | None = None, unit: str = "") -> None:
        self.what, self.total, self.unit = one_line(what), total, unit
        self.done, self.note = 0, ""
        self._started_s = self._told_s = time.monotonic()
        self._left_s: float | None = None
        self.share: float | None = None

    def advance(
        self, done: int, note: str = "", left_s: float | None = None, share: float | None = None
    ) -> None:
        """Say how far it is.

        Args:
            note: figures of the moment.
            left_s: seconds that the rest takes, and `share` how much of it is done (0 to 1), where that is
                known better than by counting.
        """
        now = time.monotonic()
        if left_s is None and self.total and done:
            left_s = (now - self._started_s) / done * (self.total - done)
        self.done, self.note, self._told_s, self._left_s = done, note, now, left_s
        self.share = share if share is not None or not self.total else min(1.0, done / self.total)

    def expect(self, left_s: float) -> None:
        """Say how long it will take before any of it is done."""
        self._told_s, self._left_s = time.monotonic(), left_s

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest is expected to take from now on; None where nobody knows."""
        return None if self._left_s is None else self._left_s - (time.monotonic() - self._told_s)

    def line(self) -> str:
        """How it stands now, in one line; time left, which runs on between two steps, comes before figures,
        so that a terminal that cuts the line keeps it."""
        parts = [f"{self.done} of {self.total} {self.unit}".rstrip()] if self.total else []
        left = self.left_s
        if left is None:
            parts.append(f"{in_words(time.monotonic() - self._started_s)} so far")
        else:
            late = "finishing" if (self.share or 0.0) >= 1.0 else _LATE
            parts.append(f"about {in_words(left)} left" if left > 0 else late)
        parts += [self.note] if self.note else []
        return f"{self.what}: {', '.join(parts)}"


class _Speaker:
    """The thread that speaks while there are phases, and the live line where there is a terminal."""

    def __init__(self) -> None:
        self._phases: list[Phase] = []
        self._lock = threading.Lock()
        self._silent = threading.Event()
        self._live: LiveLine | None = None

    def enter(self, phase: Phase) -> None:
        with self._lock:
            self._phases.append(phase)
            if len(self._phases) > 1:
                return
            self._silent = threading.Event()
            if is_live_terminal():
                self._live = LiveLine(self._told)
            threading.Thread(target=self._speak, args=(self._silent,), name="progress", daemon=True).start()

    def leave(self, phase: Phase) -> None:
        with self._lock:
            self._phases.remove(phase)
            if self._phases:
                return
            self._silent.set()
            if self._live is not None:
                self._live.close()
                self._live = None

    def _speak(self, silent: threading.Event) -> None:
        while not silent.wait(SAY_EVERY_S):
            line, _ = self._told()
            LOG.info("%s", line, extra={"progress": True})

    def _told(self) -> tuple[str, float | None]:
        """The line of now, and the share that is done."""
        phases = list(self._phases)
        if not phases:
            return "", None
        last, around = phases[-1], phases[:-1]
        if last.left_s is None and around and around[-1].left_s is not None:
            last = around[-1]  # it knows more
        names = [item.what for item in around if item is not last and not item.what.startswith("balrsam ")]
        return ": ".join([*names[-1:], last.line()]), last.share


_SPEAKER = _Speaker()


@contextmanager
def phase(what: str, total: int | None = None, unit: str = "") -> Iterator[Phase]:
    """A stretch of work that is spoken of while it lasts; tell what comes of it with `Phase.advance`."""
    entered = Phase(what, total, unit)
    _SPEAKER.enter(entered)
    try:
        yield entered
    finally:
        _SPEAKER.leave(entered)


def track(items: Iterable[T], total: int, what: str, unit: str = "cases") -> Iterator[T]:
    """Yield `items`, saying how many of `total` are done under the name `what`."""
    with phase(what, total, unit) as going:
        for done, item in enumerate(items, 1):
            yield item
            going.advance(done)


def how_it_stands(line: str) -> str | None:
    """The short of a line of `Phase.line` that another process logged: its name, the time left, and the Dice
    where it says one; None of any other line.

    Example:
        >>> how_it_stands("2d, fold 0: about 17 min left, step 2120 (18%), Dice 0.836, 40 samples/s")
        '2d, fold 0: about 17 min left, Dice 0.836'
        >>> how_it_stands("device cpu (1 thread on 2 cores): float32") is None
        True
    """
    found = _STANDS.match(line)
    if found is None:
        return None
    dice = _DICE.search(line)
    return found[0] + (dice[0] if dice is not None else "")


def in_words(seconds: float) -> str:
    """A time for people: 40 s, 12 min, 3.5 h.

    Example:
        >>> in_words(40), in_words(700), in_words(12600)
        ('40 s', '12 min', '3.5 h')
    """
    if seconds < MINUTES_FROM_S:
        return f"{max(0.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < HOURS_FROM_S else f"{seconds / 3600:.1f} h"
