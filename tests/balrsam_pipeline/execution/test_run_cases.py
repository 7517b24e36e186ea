from __future__ import annotations

import gc
import logging
import os
import signal
import time
import weakref
from functools import partial
from pathlib import Path

import pytest
from support.faulty import die_once, sleep_if_one

from balrsam_pipeline.errors import DatasetError, PreprocessingError
from balrsam_pipeline.execution import case_threads, local_executor, run_cases, run_with_limit


def square(value: int) -> int:
    if value == 3:
        raise ValueError("three")
    if value == 4:
        raise DatasetError("case four", found="4", expected="not 4", fix="-")
    return value * value


def die_always(task: tuple[int, Path]) -> int:
    value, folder = task
    (folder / f"{value}-{time.monotonic_ns()}").touch()
    if value == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def memory_short(task: tuple[int, Path]) -> int:
    value, folder = task
    attempts = len(list(folder.glob(f"{value}-*")))
    (folder / f"{value}-{attempts}").touch()
    if value == 1 or (value == 2 and attempts == 0):
        raise MemoryError
    return value


def parent_of(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_failing_cases_are_reported_and_the_others_finish(workers: int) -> None:
    with local_executor(workers) as executor:
        outcomes = {
            o.case: o
            for o in run_cases(square, {str(n): n for n in range(8)}, executor, workers, PreprocessingError)
        }
    assert {case: o.value for case, o in outcomes.items() if o.error is None} == {
        str(n): n * n for n in (0, 1, 2, 5, 6, 7)
    }
    assert isinstance(outcomes["3"].error, PreprocessingError)
    assert "ValueError: three" in str(outcomes["3"].error)
    assert isinstance(outcomes["4"].error, DatasetError)


class Sums:
    """What takes memory for as long as a case is worked on."""


def fail_holding_sums(made: weakref.WeakSet[Sums]) -> None:
    sums, error = Sums(), DatasetError("case", found="a", expected="b", fix="-")
    made.add(sums)
    try:
        _fail_holding_more(made)
    except ValueError:
        raise error from None


def _fail_holding_more(made: weakref.WeakSet[Sums]) -> None:
    sums = Sums()
    made.add(sums)
    raise ValueError("no")


@pytest.mark.parametrize("way", ["here", "in threads", "with a limit"])
def test_a_failed_case_lets_go_of_what_it_held(way: str) -> None:
    """Its error, kept until the run ends, has a traceback, whose frames kept all of the case."""
    made: weakref.WeakSet[Sums] = weakref.WeakSet()
    limited = partial(run_with_limit, fail_holding_sums, limit_s=9.0)
    function = limited if way == "with a limit" else fail_holding_sums
    with case_threads(2) as executor:
        items, threads = {str(n): made for n in range(3)}, None if way == "here" else executor
        outcomes = list(run_cases(function, items, threads, 2))
    gc.collect()  # a frame and the error that it holds make a circle
    assert [type(outcome.error) for outcome in outcomes] == [DatasetError] * 3
    assert len(made) == 0


def test_a_case_that_kills_its_worker_every_time_is_named_and_all_others_finish(tmp_path: Path) -> None:
    items = {f"case_{n}": (n, tmp_path) for n in range(20)}
    with local_executor(2) as executor:
        outcomes = {o.case: o for o in run_cases(die_always, items, executor, 2, PreprocessingError)}
    assert {case for case, o in outcomes.items() if o.error is not None} == {"case_1"}
    assert sorted(o.value for o in outcomes.values() if o.value is not None) == [
        n for n in range(20) if n != 1
    ]
    assert "case case_1" in str(outcomes["case_1"].error)
    assert "worker process died" in str(outcomes["case_1"].error)
    assert len(list(tmp_path.glob("1-*"))) == 3  # bounded
    assert len(list(tmp_path.iterdir())) == 19 + 3  # no other case was done twice


def test_a_case_whose_worker_is_lost_once_succeeds_elsewhere(tmp_path: Path) -> None:
    items = {f"case_{n}": (n, tmp_path) for n in range(6)}
    with local_executor(2) as executor:
        outcomes = list(run_cases(die_once, items, executor, 2, PreprocessingError))
    assert sorted(o.value for o in outcomes if o.value is not None) == list(range(6))


def test_a_stalled_case_is_given_up_and_the_message_says_where_it_stood(
    caplog: pytest.LogCaptureFixture,
) -> None:
    started = time.monotonic()
    with caplog.at_level(logging.WARNING), local_executor(2, case_timeout_s=3) as executor:
        outcomes = {
            o.case: o
            for o in run_cases(
                sleep_if_one, {f"case_{n}": n for n in range(6)}, executor, 2, PreprocessingError
            )
        }
    assert time.monotonic() - started < 30
    error = str(outcomes.pop("case_1").error)
    assert "case case_1" in error
    assert "not done after 3 s" in error
    assert "in sleep_if_one" in error  # the stack, by faulthandler
    assert all(o.error is None for o in outcomes.values())
    assert "in sleep_if_one" in caplog.text


def test_a_time_limit_holds_for_one_worker_too() -> None:
    with local_executor(1, case_timeout_s=1.5) as executor:
        outcomes = [o.error is None for o in run_cases(sleep_if_one, {"a": 0, "b": 1, "c": 2}, executor, 1)]
    assert sorted(outcomes) == [False, True, True]


def test_a_case_short_of_memory_is_tried_again_alone(tmp_path: Path) -> None:
    with local_executor(2) as executor:
        outcomes = {
            o.case: o
            for o in run_cases(memory_short, {f"case_{n}": (n, tmp_path) for n in range(5)}, executor, 2)
        }
    assert {case for case, o in outcomes.items() if o.error is not None} == {"case_1"}
    assert "not enough memory" in str(outcomes["case_1"].error)
    assert outcomes["case_2"].value == 2


def test_a_hundred_cases_come_back_once_each() -> None:
    with local_executor(2) as executor:
        outcomes = [o.case for o in run_cases(abs, {str(n): n for n in range(100)}, executor, 2)]
    assert sorted(outcomes, key=int) == [str(n) for n in range(100)]


def test_workers_end_with_the_executor() -> None:
    with local_executor(2) as executor:
        workers = {o.value for o in run_cases(parent_of, {str(n): n for n in range(20)}, executor, 2)}
    for pid in workers:
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_interruption_waits_for_what_is_being_worked_on_and_begins_nothing_more() -> None:
    begun: list[int] = []

    def work(value: int) -> None:
        begun.append(value)
        time.sleep(0.3)

    def interrupted() -> None:
        with case_threads(2) as executor:
            for _ in run_cases(work, {str(value): value for value in range(20)}, executor, 2):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    time.sleep(0.5)
    assert len(begun) <= 2 + 2  # the first two, and those that took their places
