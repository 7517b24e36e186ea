from __future__ import annotations

import pytest

from trainers.config import TrainingConfig
from trainers.pace import Budget


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def test_a_time_budget_counts_over_resumes():
    clock = Clock()
    budget = Budget(TrainingConfig(epochs=None, max_minutes=10), clock, used_s=300.0)
    assert budget.progress(0) == 0.5
    clock.now_s += 60
    assert budget.progress(0) == pytest.approx(0.6)
    clock.now_s += 10_000
    assert budget.progress(0) == 1.0


def test_work_that_is_done_once_takes_time_and_moves_the_run_no_further():
    """100 s of 700 before, 200 s of 300 here: what is left for steps is 700 - 100 - 200, and 100 are used."""
    clock = Clock()
    config = TrainingConfig(epochs=None, max_minutes=700 / 60)
    budget = Budget(config, clock, used_s=100.0, once_s=100.0)
    assert budget.progress(0) == 0.0
    once_s = 0.0
    budget.leave_out(lambda: once_s)
    clock.now_s += 300
    once_s = 200.0
    assert budget.once_s() == 300.0
    assert budget.progress(0) == pytest.approx(100 / 400)
    clock.now_s += 150
    once_s += 150
    assert budget.progress(0) == pytest.approx(100 / 250), "the share of the rest grows, steps or none"
    clock.now_s += 150
    assert budget.progress(0) == 1.0 and budget.is_used_up()


def test_what_comes_again_is_told_from_what_is_done_once():
    clock, once_s = Clock(), 0.0
    budget = Budget(TrainingConfig(epochs=None, max_minutes=1), clock, used_s=20.0, once_s=5.0)
    budget.leave_out(lambda: once_s)
    began_s = budget.repeated_s()
    clock.now_s += 12.0
    once_s = 10.0
    assert budget.repeated_s() - began_s == pytest.approx(2.0), "a validation of 2 s, which encoded for 10"


def test_an_epoch_budget_counts_steps():
    budget = Budget(TrainingConfig(epochs=4, steps_per_epoch=25), Clock())
    assert [budget.progress(step) for step in (0, 50, 100)] == [0.0, 0.5, 1.0]


def test_of_two_budgets_the_one_used_up_first_ends_the_run():
    clock = Clock()
    budget = Budget(TrainingConfig(epochs=1, steps_per_epoch=100, max_minutes=1), clock)
    clock.now_s += 45
    assert budget.progress(10) == 0.75
    assert budget.progress(90) == 0.9
