"""How much of a run's steps or time is used."""

from __future__ import annotations

from collections.abc import Callable

from trainers.config import TrainingConfig


class Budget:
    """How much of a run's steps or time is used, from 0 to 1; whichever is further counts, time over resumes.

    Whole-image validation after the last step is not part of it.

    Args:
        config: names the budget.
        clock: seconds that only grow.
        used_s: seconds used before this process took over.
    """

    def __init__(self, config: TrainingConfig, clock: Callable[[], float], used_s: float = 0.0) -> None:
        self._clock, self._started_s, self._used_s = clock, clock(), used_s
        self.steps = config.budget_steps
        self.limit_s = config.max_minutes * 60 if config.max_minutes is not None else None
        self._reserved_s = 0.0

    def used_s(self) -> float:
        """Seconds used so far, over all processes that worked on the run."""
        return self._used_s + self._clock() - self._started_s

    def reserve(self, seconds: float) -> None:
        """Keep these seconds of the time for what follows the last step (its quick validation), at most a
        quarter of it."""
        self._reserved_s = min(seconds, self.limit_s / 4) if self.limit_s is not None else 0.0

    def progress(self, step: int) -> float:
        """The share of the budget used when `step` steps are done, 0 to 1."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(step / self.steps)
        if self.limit_s is not None:
            shares.append(self.used_s() / (self.limit_s - self._reserved_s))
        return min(1.0, max(shares))

    def is_used_up(self) -> bool:
        """Whether no time is left, not even what is kept for after the last step."""
        return self.limit_s is not None and self.used_s() >= self.limit_s
