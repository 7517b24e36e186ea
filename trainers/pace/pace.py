"""How fast a run goes: seconds of a step, what is left, and what is said of it while it lasts."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable

from balrsam_pipeline.processor import usable_cores
from balrsam_pipeline.progress import Phase, in_words
from trainers.config import TrainingConfig
from trainers.data import Filling
from trainers.pace.budget import Budget
from trainers.pace.threads import BUSY_CORES, Choice, ThreadChoice

LOG = logging.getLogger(__name__)
RECENT_STEPS = 50
COARSE_SAVES = 4  # images of half the side take about so many times less


class Pace:
    """Measures steps, and says how the run goes.

    Time left is what the steps and quick validations that are left take at the pace of the last ones, without
    the work that is done once (`filling`), and what is left of that.
    """

    def __init__(
        self,
        config: TrainingConfig,
        budget: Budget,
        going: Phase,
        threads: ThreadChoice | None = None,
        filling: Filling | None = None,
        afterwards: Callable[[float], float] | None = None,
        patches: int = 0,
    ) -> None:
        """Begin to measure.

        Args:
            going: where it is said how the run goes.
            threads: decides how many threads compute; None leaves them.
            filling: work that is done once.
            afterwards: seconds that the validation of whole images takes after the budget, from those of the
                network for one patch.
            patches: of a quick validation; 0 takes those of `config`.
        """
        self._config, self._budget, self._going = config, budget, going
        self._threads, self._filling, self._afterwards = threads, filling or Filling(), afterwards
        self._patches = max(1, patches or config.quick_validation_patches)
        self._steps_s: deque[float] = deque(maxlen=RECENT_STEPS)
        self._computing_s: deque[float] = deque(maxlen=RECENT_STEPS)
        self._validation_s, self._dice, self._finer = 0.0, -1.0, 1
        self._mark = (time.monotonic(), self._filling.seconds)
        self._begun = (time.monotonic(), budget.used_s())

    @property
    def step_s(self) -> float:
        """Seconds of a step: the mean of the last ones."""
        return sum(self._steps_s) / len(self._steps_s) if self._steps_s else 0.0

    @property
    def samples_per_s(self) -> float:
        """Samples worked through in a second."""
        return (self._config.batch_size or 1) / self.step_s if self.step_s else 0.0

    def stepped(self, step: int, loss: float, computing_s: float) -> None:
        """Take in that `step` steps are done.

        Args:
            loss: the mean of the epoch so far.
            computing_s: of the step, without the making of its batch.
        """
        self._steps_s.append(self._since_mark())
        self._computing_s.append(computing_s)
        if self._threads is not None:
            choice = self._threads.took(computing_s)
            if choice is not None:
                self._steps_s.clear()
                self._computing_s.clear()
                self._tell_choice(choice, step)
        self._tell(step, loss)

    def validated(self, dice: float | None, *, coarse: bool = False) -> None:
        """Take in the Dice of a quick validation that followed the last step; None where there was none.

        Args:
            coarse: whether it saw images of half the side, as the validation of whole images will not.
        """
        self._finer = COARSE_SAVES if coarse else 1
        self._validation_s, self._dice = self._since_mark(), -1.0 if dice is None else dice
        if self._threads is not None and self._computing_s:
            self._threads.reconsider(sum(self._computing_s) / len(self._computing_s))

    def left_s(self, step: int) -> float | None:
        """Seconds that the rest of the budget takes; None before there is a pace."""
        left = []
        if self._budget.steps is not None and self._steps_s:
            steps = max(0, self._budget.steps - step)
            epochs = steps / self._config.steps_per_epoch
            once_s = self._filling.left_s(steps * (self._config.batch_size or 1))
            left.append(steps * self.step_s + epochs * self._validation_s + once_s)
        if self._budget.limit_s is not None:
            elapsed_s = time.monotonic() - self._begun[0]
            counted_s = self._budget.used_s() - self._begun[1]
            rate = counted_s / elapsed_s if elapsed_s > 1 and counted_s > 0 else 1.0
            left.append(max(0.0, self._budget.limit_s - self._budget.used_s()) / rate)
        return min(left) if left else None

    def validation_s(self) -> float | None:
        """Seconds that validation of whole images is expected to take; None before a quick one has been
        timed."""
        if self._afterwards is None or not self._validation_s:
            return None
        patch_s = self._finer * self._validation_s / self._patches
        once_s = self._filling.seconds / self._filling.made if self._filling.made else 0.0
        return self._afterwards(patch_s + once_s)

    def _since_mark(self) -> float:
        """Seconds since the last call, without work that is done once."""
        before, self._mark = self._mark, (time.monotonic(), self._filling.seconds)
        return max(0.0, self._mark[0] - before[0] - (self._mark[1] - before[1]))

    def _tell(self, step: int, loss: float) -> None:
        progress = self._budget.progress(step)
        of = f" of {self._budget.steps}" if self._budget.steps is not None else ""
        parts = [f"step {step}{of} ({progress:.0%})", f"loss {loss:.3f}"]
        parts += [f"Dice {self._dice:.3f}"] if self._dice >= 0 else []
        parts += [f"{self.samples_per_s:.3g} samples/s"] if self._steps_s else []
        validation_s = self.validation_s()
        parts += [f"then {in_words(validation_s)} of validation"] if validation_s is not None else []
        self._going.advance(step, ", ".join(parts), self.left_s(step), progress)

    def _tell_choice(self, choice: Choice, step: int) -> None:
        """Say what to expect of a machine that others use too."""
        if choice.others < BUSY_CORES:
            return
        steps, limit_s = self._budget.steps, self._budget.limit_s
        if limit_s is not None:
            left = (limit_s - self._budget.used_s()) / choice.step_s
            expected = f"{left:.0f} more steps in the budget"
        else:
            left = (steps or step) - step
            expected = f"{in_words(left * choice.step_s)} for {left:.0f} steps"
        LOG.warning(
            "the machine is busy: other programs use %.1f of its cores (training may use %d); "
            "expect about %s",
            choice.others,
            usable_cores(),
            expected,
        )
