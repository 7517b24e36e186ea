"""How much of a run's steps or time is used."""

from __future__ import annotations

from collections.abc import Callable

from trainers.config import TrainingConfig


class Budget:
    """How much of a run's steps or time is used, from 0 to 1; whichever is further counts, time over resumes.

    Whole-image validation after the last step is not part of it. Work that is done once (what a frozen
    encoder makes of each picture) takes of its time, but moves the run no further: learning rate and
    half-sized pictures go by the share of the rest.

    Args:
        config: names the budget.
        clock: seconds that only grow.
        used_s: seconds used before this process took over, `once_s` of them by work that is done once.
    """

    def __init__(
        self, config: TrainingConfig, clock: Callable[[], float], used_s: float = 0.0, once_s: float = 0.0
    ) -> None:
        self._clock, self._started_s, self._used_s = clock, clock(), used_s
        self._once_before_s = once_s
        self._once: Callable[[], float] | None = None
        self.steps = config.budget_steps
        self.limit_s = config.max_minutes * 60 if config.max_minutes is not None else None
        self._reserved_s = 0.0

    def used_s(self) -> float:
        """Seconds used so far, over all processes that worked on the run."""
        return self._used_s + self._clock() - self._started_s

    def repeated_s(self) -> float:
        """Of the seconds used so far, those of work that comes again: steps and quick validations."""
        return self.used_s() - self.once_s()

    def once_s(self) -> float:
        """Of the seconds used so far, those of work that is done once."""
        return self._once_before_s + (self._once() if self._once is not None else 0.0)

    def leave_out(self, once: Callable[[], float]) -> None:
        """Take from now on these seconds of this process, by the clock, for work that is done once."""
        self._once = once

    def reserve(self, seconds: float) -> None:
        """Keep these seconds of the time for what follows the last step (its quick validation), at most a
        quarter of it."""
        self._reserved_s = min(seconds, self.limit_s / 4) if self.limit_s is not None else 0.0

    def progress(self, step: int) -> float:
        """The share of the budget used when `step` steps are done, 0 to 1; time without what is done once."""
        shares = [0.0]
        if self.steps is not None:
            shares.append(step / self.steps)
        if self.limit_s is not None:
            once_s = self.once_s()
            for_steps_s = self.limit_s - self._reserved_s - once_s
            shares.append(self.repeated_s() / for_steps_s if for_steps_s > 0 else 1.0)
        return min(1.0, max(shares))

    def is_used_up(self) -> bool:
        """Whether no time is left, not even what is kept for after the last step."""
        return self.limit_s is not None and self.used_s() >= self.limit_s
