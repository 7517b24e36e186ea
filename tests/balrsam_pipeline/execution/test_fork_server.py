"""Signals that ask to stop and processes that come from the fork server; the loader's, which ignore them:
tests/trainers/data/test_loader.py."""

from __future__ import annotations

import os
import signal

import pytest

from balrsam_pipeline.execution import WorkerLost, local_executor


def ask_to_stop(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_on_cases_ends_when_it_is_asked_to(number: int) -> None:
    with local_executor(2) as executor:
        assert executor is not None
        with pytest.raises(WorkerLost, match=f"exit code {-number}"):
            executor.submit(ask_to_stop, number).result(60)


def test_the_process_that_starts_workers_hears_signals_as_before() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with local_executor(2):
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
