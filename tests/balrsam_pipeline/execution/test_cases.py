from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from balrsam_pipeline.errors import DatasetError, PreprocessingError
from balrsam_pipeline.execution import local_executor, run_cases


def square(value: int) -> int:
    if value == 3:
        raise ValueError("three")
    if value == 4:
        raise DatasetError("case four", found="4", expected="not 4", mend="-")
    return value * value


def die(value: int) -> int:
    if value == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


@pytest.mark.parametrize("workers", [1, 2])
def test_failing_cases_are_reported_and_the_others_finish(workers: int) -> None:
    with local_executor(workers) as executor:
        outcomes = {o.case: o for o in run_cases(square, {str(n): n for n in range(8)}, executor, workers, PreprocessingError)}
    assert {case: o.value for case, o in outcomes.items() if o.error is None} == {str(n): n * n for n in (0, 1, 2, 5, 6, 7)}
    assert isinstance(outcomes["3"].error, PreprocessingError)
    assert "ValueError: three" in str(outcomes["3"].error)
    assert isinstance(outcomes["4"].error, DatasetError)


def test_a_killed_worker_is_an_error_that_names_a_case_not_a_hang() -> None:
    with local_executor(2) as executor:
        outcomes = list(run_cases(die, {f"case_{n}": n for n in range(6)}, executor, 2, PreprocessingError))
    assert len(outcomes) == 6
    assert any(o.error is not None and "worker process died" in str(o.error) for o in outcomes)


def test_a_hundred_cases_come_back_once_each(tmp_path: Path) -> None:
    with local_executor(2) as executor:
        outcomes = [o.case for o in run_cases(abs, {str(n): n for n in range(100)}, executor, 2)]
    assert sorted(outcomes, key=int) == [str(n) for n in range(100)]
