"""How fast a run goes and what is left of it, on a clock that the test moves."""

from __future__ import annotations

import pytest

from balrsam_pipeline import progress
from balrsam_pipeline.progress import Phase
from trainers.config import TrainingConfig
from trainers.data import Filling
from trainers.pace import Budget, Pace


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of the pace and of what it says."""
    moved = Clock()
    monkeypatch.setattr("trainers.pace.pace.time.monotonic", moved)
    monkeypatch.setattr(progress.time, "monotonic", moved)
    return moved


def test_time_left_is_of_the_last_steps_and_of_the_validations_to_come(clock: Clock) -> None:
    config = TrainingConfig(epochs=3, steps_per_epoch=10, batch_size=4)
    pace = Pace(config, Budget(config, clock), Phase("fold 0"))
    assert pace.left_s(0) is None
    for step in range(1, 11):
        clock.now_s += 2.0
        pace.stepped(step, 0.5, 1.5)
    clock.now_s += 5.0
    pace.validated(0.8)
    assert pace.left_s(10) == pytest.approx(20 * 2.0 + 2 * 5.0)
    assert pace.samples_per_s == pytest.approx(2.0)


def test_work_that_is_done_once_does_not_count_for_the_steps_to_come(clock: Clock) -> None:
    """The first steps compute what is kept of a slice; the later ones find it."""
    config, filling = TrainingConfig(epochs=1, batch_size=1), Filling(views=20, missing=20)
    pace = Pace(config, Budget(config, clock), Phase("fold 0"), filling=filling)
    for step in range(1, 11):
        clock.now_s += 0.1 + 3.0
        filling.made, filling.seconds = step, 3.0 * step
        pace.stepped(step, 0.5, 0.1)
    shown = 1 - (1 - 1 / 20) ** 90  # of the ten views that are missing, in the 90 samples to come
    assert pace.left_s(10) == pytest.approx(90 * 0.1 + 10 * shown * 3.0)
    filling.made = 20
    assert pace.left_s(10) == pytest.approx(9.0)


def test_a_budget_of_time_leaves_what_is_left_of_it(clock: Clock) -> None:
    config = TrainingConfig(epochs=None, max_minutes=1, batch_size=4)
    going = Phase("fold 0")
    pace = Pace(config, Budget(config, clock), going, afterwards=lambda patch_s: 128 * patch_s)
    clock.now_s += 20
    pace.stepped(1, 0.5, 20)
    assert pace.left_s(1) == pytest.approx(40.0)
    assert going.line() == "fold 0: about 40 s left, step 1 (33%), loss 0.500, 0.2 samples/s"
    clock.now_s += 10
    pace.validated(0.25)
    assert pace.validation_s() == pytest.approx(128 * 10 / 64)
    clock.now_s += 20
    pace.stepped(2, 0.5, 20)
    assert "Dice 0.250" in going.line() and "then 20 s of validation" in going.line()


def test_validation_is_judged_at_the_size_that_it_will_see(clock: Clock) -> None:
    config = TrainingConfig(epochs=None, max_minutes=1, batch_size=4)
    pace = Pace(config, Budget(config, clock), Phase("fold 0"), afterwards=lambda patch_s: 128 * patch_s)
    for coarse, expected in ((True, 4 * 128 / 64), (False, 128 / 64)):
        clock.now_s += 1.0
        pace.validated(0.5, coarse=coarse)
        assert pace.validation_s() == pytest.approx(expected)


def test_time_is_kept_for_what_follows_the_last_step_but_not_more_than_a_quarter(clock: Clock) -> None:
    budget = Budget(TrainingConfig(epochs=None, max_minutes=1), clock)
    clock.now_s += 50
    budget.reserve(10)
    assert budget.progress(0) == 1.0 and not budget.is_used_up()
    clock.now_s += 10
    assert budget.is_used_up()
    budget = Budget(TrainingConfig(epochs=None, max_minutes=1), clock)
    budget.reserve(1000)
    clock.now_s += 44
    assert budget.progress(0) < 1.0


def test_of_budgets_in_steps_and_epochs_the_smaller_one_counts(clock: Clock) -> None:
    both = TrainingConfig(epochs=2, steps_per_epoch=10, max_steps=15)
    assert Budget(both, clock).steps == 15
    assert Budget(TrainingConfig(epochs=None, max_steps=7), clock).progress(7) == 1.0
