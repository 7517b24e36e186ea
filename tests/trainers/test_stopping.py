from __future__ import annotations

import os
import signal

import pytest

from trainers.stopping import TrainingStopped, stop_before_training, stop_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_noted_instead_of_killing(number):
    before = signal.getsignal(number)
    with stop_on_signals() as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request and request.signal_name == signal.Signals(number).name
    assert signal.getsignal(number) == before


def test_a_signal_that_comes_by_two_ways_at_once_is_one_and_a_later_one_ends(monkeypatch):
    """In the background of a shell SIGINT is ignored from the start, so what it does is set here."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), stop_on_signals() as request:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert request
            monkeypatch.setattr("trainers.stopping.SAME_WITHIN_S", 0.0)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, former)


def test_a_stopped_training_exits_with_a_code_that_asks_to_be_requeued():
    assert TrainingStopped.exit_code == os.EX_TEMPFAIL == 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_before_the_loop_ends_with_the_same_code_as_one_in_it(number):
    before = signal.getsignal(number)
    with pytest.raises(TrainingStopped, match=signal.Signals(number).name), stop_before_training():
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        except Exception:  # code that goes on after any error of a case must not go on after this
            pytest.fail("the signal was taken for an error")
    assert signal.getsignal(number) == before


def test_the_loop_notes_signals_although_the_command_around_it_would_end():
    with stop_before_training(), stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.signal_name == "SIGTERM"
