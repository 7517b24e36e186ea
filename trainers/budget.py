"""How much of a run's budget is used: steps, time, or whichever is further; time counts over resumes."""

from __future__ import annotations

import time
from collections.abc import Callable

from trainers.config import TrainingConfig

CLOCKS: dict[str, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}


class Budget:
    """Measures progress from 0 to 1; whole-image validation after the last step is not part of it.

    Args:
        config: names the budget.
        clock: seconds that only grow.
        used_s: seconds used before this process took over.
    """

    def __init__(self, config: TrainingConfig, clock: Callable[[], float], used_s: float = 0.0) -> None:
        self._clock, self._started_s, self._used_s = clock, clock(), used_s
        self._steps = config.epochs * config.steps_per_epoch if config.epochs is not None else None
        self._limit_s = config.max_minutes * 60 if config.max_minutes is not None else None

    def used_s(self) -> float:
        """Seconds used so far, over all processes that worked on the run."""
        return self._used_s + self._clock() - self._started_s

    def progress(self, step: int) -> float:
        """The share of the budget used when `step` steps are done, 0 to 1."""
        shares = [0.0]
        if self._steps is not None:
            shares.append(step / self._steps)
        if self._limit_s is not None:
            shares.append(self.used_s() / self._limit_s)
        return min(1.0, max(shares))

    def left_s(self, step: int) -> float:
        """Seconds that the rest of the budget will take, judged by what is used."""
        progress = self.progress(step)
        return self.used_s() * (1 - progress) / progress if progress > 0 else 0.0
