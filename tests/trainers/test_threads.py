"""The number of threads: as many as there are on a quiet machine, those that are fastest on a busy one."""

from __future__ import annotations

import pytest

from trainers.pace.threads import ThreadChoice, candidates


class Machine:
    """Steps take `step_s[threads]`; other programs use `others` cores."""

    def __init__(self, step_s: dict[int, float], others: float | None) -> None:
        self.step_s, self.others, self.threads = step_s, others, 0
        self.choice = ThreadChoice(max(step_s), self.apply, lambda: self.others)

    def apply(self, threads: int) -> None:
        self.threads = threads

    def run(self, steps: int) -> list[int]:
        """Threads of every step."""
        used = []
        for _ in range(steps):
            used.append(self.threads)
            self.choice.took(self.step_s[self.threads])
        return used


@pytest.mark.parametrize("others", [None, 0.1])
def test_a_quiet_machine_keeps_all_its_threads_from_the_first_step_on(others: float | None) -> None:
    """So that the same settings give the same numbers on it."""
    machine = Machine({2: 1.0, 1: 0.1}, others)
    assert set(machine.run(30)) == {2}


def test_a_busy_machine_takes_the_number_that_is_fastest() -> None:
    machine = Machine({4: 3.0, 2: 1.0, 1: 1.5}, others=3.0)
    assert machine.run(40)[-1] == 2
    assert machine.choice.choice is not None and machine.choice.choice.step_s == pytest.approx(1.0)


def test_a_small_gain_is_not_worth_another_number() -> None:
    machine = Machine({2: 1.0, 1: 0.95}, others=1.0)
    assert machine.run(20)[-1] == 2


def test_slow_steps_are_not_waited_for_three_times() -> None:
    machine = Machine({2: 40.0, 1: 0.3}, others=1.8)
    assert machine.run(6)[:3] == [2, 2, 1]


def test_it_is_decided_anew_when_the_machine_has_changed() -> None:
    machine = Machine({2: 2.0, 1: 1.0}, others=1.5)
    assert machine.run(20)[-1] == 1
    machine.step_s, machine.others = {2: 0.4, 1: 0.6}, 0.0
    machine.choice.reconsider(0.6)
    assert machine.run(20)[-1] == 2
    machine.choice.reconsider(0.4)
    assert machine.choice.choice is not None


def test_numbers_are_halved() -> None:
    assert candidates(12) == (12, 6, 3, 1)
    assert candidates(1) == (1,)
