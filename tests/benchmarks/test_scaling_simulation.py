"""The simulation behind docs/scaling.md against cases whose answer is known."""

from __future__ import annotations

import heapq
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.scaling.simulation import Cluster, lower_bounds, simulate

TIMES = st.lists(st.floats(0.01, 100), min_size=1, max_size=40)


@settings(deadline=None, max_examples=25)
@given(TIMES)
def test_one_worker_takes_the_sum(times: list[float]) -> None:
    assert simulate(times, 0, 0, Cluster(workers=1)).makespan_s == pytest.approx(sum(times))


@settings(deadline=None, max_examples=25)
@given(TIMES)
def test_as_many_workers_as_cases_take_as_long_as_the_longest(times: list[float]) -> None:
    assert simulate(times, 0, 0, Cluster(workers=len(times))).makespan_s == pytest.approx(max(times))


@settings(deadline=None, max_examples=25)
@given(TIMES, st.integers(1, 12))
def test_without_overhead_it_is_list_scheduling(times: list[float], workers: int) -> None:
    free = [0.0] * workers
    for time in times:
        heapq.heappush(free, heapq.heappop(free) + time)
    found = simulate(times, 0, 0, Cluster(workers=workers)).makespan_s
    assert found == pytest.approx(max(free))
    assert found <= sum(times) / workers + (1 - 1 / workers) * max(times) + 1e-9  # Graham 1969


def test_cases_that_take_no_time_wait_for_the_scheduler() -> None:
    result = simulate([0.0] * 1000, 0, 0, Cluster(workers=50, dispatch_s=0.01))
    assert result.makespan_s == pytest.approx(10.0)
    assert result.scheduler_busy == pytest.approx(1.0)


def test_one_worker_pays_every_overhead() -> None:
    cluster = Cluster(workers=1, dispatch_s=0.5, bandwidth=100.0)
    assert simulate([2.0] * 10, 50, 25, cluster).makespan_s == pytest.approx(10 * (0.5 + 0.5 + 2.0 + 0.25))


def test_readers_share_the_file_system() -> None:
    result = simulate([0.0] * 400, 10, 0, Cluster(workers=20, bandwidth=100.0))
    assert result.makespan_s == pytest.approx(400 * 10 / 100)
    assert result.file_system_busy == pytest.approx(1.0)


def test_a_link_limits_one_worker_but_not_all() -> None:
    cluster = Cluster(workers=4, bandwidth=1000.0, worker_bandwidth=10.0)
    assert simulate([0.0] * 4, 10, 0, cluster).makespan_s == pytest.approx(1.0)


def test_two_readers_of_which_one_came_later() -> None:
    """The first reads 1 s alone (100 bytes) and shares then: 50 more in 1 s; the second has 50 then, and 100
    left alone."""
    cluster = Cluster(workers=2, bandwidth=100.0, dispatch_s=1.0)
    result = simulate([0.0, 0.0], 150, 0, cluster)
    assert result.makespan_s == pytest.approx(1 + 1 + 1 + 1)


def test_losses_cost_what_restarting_a_case_costs() -> None:
    """A case of c seconds that starts anew at each loss takes (exp(λc) - 1)/λ on average; back at once."""
    rate, case = 1 / 10.0, 5.0
    cluster = Cluster(workers=1, losses_per_hour=3600 * rate, return_s=0.0)
    mean = np.mean([simulate([case] * 200, 0, 0, cluster, seed).makespan_s / 200 for seed in range(20)])
    assert mean == pytest.approx((math.exp(rate * case) - 1) / rate, rel=0.05)


def test_a_lost_worker_leaves_its_share_of_the_file_system_to_others() -> None:
    cluster = Cluster(workers=10, bandwidth=100.0, losses_per_hour=200.0, return_s=1.0)
    result = simulate([1.0] * 300, 20, 20, cluster, seed=3)
    assert result.lost_work > 0
    assert result.makespan_s >= 300 * 40 / 100


@settings(deadline=None, max_examples=30)
@given(TIMES, st.integers(1, 8), st.floats(0, 0.2), st.floats(0, 50))
def test_nothing_is_faster_than_its_lower_bounds(
    times: list[float], workers: int, dispatch_s: float, size: float
) -> None:
    cluster = Cluster(workers=workers, dispatch_s=dispatch_s, bandwidth=100.0)
    assert simulate(times, size, 0, cluster).makespan_s >= max(
        lower_bounds(times, size, cluster).values()
    ) * (1 - 1e-9)
