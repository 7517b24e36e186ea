from __future__ import annotations

import os
import signal

import pytest

from trainers.stopping import SIGNALS, TrainingStopped, stop_before_training, stop_on_signals


@pytest.fixture
def handlers():
    """Puts back what a command that ends leaves."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


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


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_before_the_loop_ends_with_the_same_code_as_one_in_it(number):
    with pytest.raises(TrainingStopped, match=signal.Signals(number).name), stop_before_training():
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        except Exception:  # code that goes on after any error of a case must not go on after this
            pytest.fail("the signal was taken for an error")


@pytest.mark.usefixtures("handlers")
def test_the_same_signal_by_two_ways_before_the_loop_still_ends_with_that_code(monkeypatch):
    died: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: died.append(number))
    with pytest.raises(TrainingStopped, match="SIGTERM"), stop_before_training():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)  # while what was begun is put away
    signal.raise_signal(signal.SIGTERM)  # while the process says why it ends
    assert not died
    monkeypatch.setattr("trainers.stopping.SAME_WITHIN_S", 0.0)
    signal.raise_signal(signal.SIGTERM)
    assert died == [signal.SIGTERM]


def test_without_a_signal_all_is_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with stop_before_training():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.usefixtures("handlers")
def test_the_loop_notes_signals_although_the_command_around_it_would_end():
    with stop_before_training(), stop_on_signals() as request:
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.signal_name == "SIGTERM"
