from __future__ import annotations

import os
import signal

import pytest

from trainers.stopping import TrainingStopped, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_noted_instead_of_killing(number):
    before = signal.getsignal(number)
    with stop_on_signals() as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request and request.signal_name == signal.Signals(number).name
    assert signal.getsignal(number) == before


def test_a_stopped_training_exits_with_a_code_that_asks_to_be_requeued():
    assert TrainingStopped.exit_code == os.EX_TEMPFAIL == 75
