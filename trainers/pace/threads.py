"""How many threads compute on a CPU: where other programs are at work, that is tried in the first steps.

Threads of one step wait for each other, so a thread that has to share its core holds up all of them: on a
busy machine fewer can be faster.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

LOG = logging.getLogger(__name__)
MEASURED_STEPS = 3
ENOUGH_S = 6.0  # of steps with one number of threads
BUSY_CORES = 0.25  # used by other programs: from here on numbers of threads are compared
WORTH = 0.9  # another number has to bring the time of a step down to this share
CHANGED = 1.5  # times slower or faster than when it was decided: decided anew


@dataclass(frozen=True, slots=True)
class Choice:
    """The number of threads, seconds of a step with it, and cores that other programs use."""

    threads: int
    step_s: float
    others: float


class ThreadChoice:
    """Decides on the number of threads from how long steps take.

    Args:
        most: threads to begin with; as many or fewer are used.
        apply: makes so many threads compute.
        others: cores that other programs have used since it was last asked, None where that is not known.
    """

    def __init__(self, most: int, apply: Callable[[int], None], others: Callable[[], float | None]) -> None:
        self._apply, self._others = apply, others
        self._candidates = candidates(most)
        self._waiting: list[int] = []
        self._times: dict[int, list[float]] = {}
        self._busy: float | None = None
        self._current, self._warming = most, True
        self.choice: Choice | None = None
        self._begin()

    def took(self, seconds: float) -> Choice | None:
        """Take in how long a step took; returns the choice when it has just been made."""
        if self.choice is not None:
            return None
        if self._warming:
            self._warming = False
            return None
        times = self._times[self._current]
        times.append(seconds)
        if len(times) < MEASURED_STEPS and sum(times) < ENOUGH_S:
            return None
        if self._busy is None:
            self._busy = self._others() or 0.0
        if self._busy >= BUSY_CORES and self._waiting:
            self._use(self._waiting.pop(0))
            return None
        return self._choose()

    def reconsider(self, step_s: float) -> None:
        """Compare again where steps have become much slower or faster since the choice was made."""
        if self.choice is not None and not 1 / CHANGED < step_s / self.choice.step_s < CHANGED:
            self._begin()

    def _begin(self) -> None:
        self._waiting = list(self._candidates[1:])
        self._times, self._busy, self.choice = {}, None, None
        self._others()  # what was before does not count
        self._use(self._candidates[0])

    def _use(self, threads: int) -> None:
        self._current, self._warming = threads, True
        self._times[threads] = []
        self._apply(threads)

    def _choose(self) -> Choice:
        step_s = {threads: sum(times) / len(times) for threads, times in self._times.items()}
        most = self._candidates[0]
        fastest = min(step_s, key=lambda threads: step_s[threads])
        threads = fastest if step_s[fastest] < WORTH * step_s[most] else most
        if threads != self._current:
            self._apply(threads)
        self.choice = Choice(threads, max(step_s[threads], 1e-9), self._busy or 0.0)
        if len(step_s) > 1:
            rates = ", ".join(f"{1 / max(s, 1e-9):.2g} with {one}" for one, s in step_s.items())
            LOG.info("steps per second by threads: %s; training with %d", rates, threads)
        return self.choice


def candidates(most: int) -> Sequence[int]:
    """Numbers of threads worth a try, the largest first.

    Example:
        >>> candidates(8)
        (8, 4, 2, 1)
    """
    found = [most]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return tuple(found)
