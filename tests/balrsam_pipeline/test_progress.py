"""Long work is never silent: a thread speaks for it, however long one of its steps takes."""

from __future__ import annotations

import logging
import time

import pytest

from balrsam_pipeline import progress
from balrsam_pipeline.progress import Phase, phase, track


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(progress, "SAY_EVERY_S", 0.03)
    caplog.set_level(logging.INFO)
    return caplog


def test_work_that_says_nothing_itself_is_spoken_for(quick: pytest.LogCaptureFixture) -> None:
    with phase("one long step"):
        time.sleep(0.2)
    assert len(quick.messages) >= 3
    assert all(message.startswith("one long step: ") for message in quick.messages)


def test_the_innermost_phase_speaks_and_nobody_does_afterwards(quick: pytest.LogCaptureFixture) -> None:
    with phase("balrsam train"), phase("fold 0"), phase("validation", 7, "cases") as inner:
        inner.advance(2)
        time.sleep(0.1)
    said = len(quick.messages)
    assert quick.messages[0].startswith("fold 0: validation: 2 of 7 cases, ")
    time.sleep(0.1)
    assert len(quick.messages) == said


def test_a_phase_that_knows_no_time_left_leaves_the_word_to_one_that_does(
    quick: pytest.LogCaptureFixture,
) -> None:
    with phase("validation") as outer, phase("predict", 3):
        outer.expect(500)
        time.sleep(0.1)
    assert quick.messages[0] == "validation: about 8 min left"


def test_time_left_is_counted_from_what_is_done_and_runs_on(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    going = Phase("predict", 10, "cases")
    assert going.line() == "predict: 0 of 10 cases, 0 s so far"
    clock[0] = 20.0
    going.advance(4)
    assert going.share == 0.4
    assert going.line() == "predict: 4 of 10 cases, about 30 s left"
    clock[0] = 27.0
    assert going.line() == "predict: 4 of 10 cases, about 23 s left"
    clock[0] = 60.0
    assert going.line() == "predict: 4 of 10 cases, longer than expected, going on"
    going.advance(10)
    clock[0] = 61.0
    assert going.line() == "predict: 10 of 10 cases, finishing"


def test_tracking_yields_every_item_and_says_how_many_are_done(quick: pytest.LogCaptureFixture) -> None:
    seen = []
    for item in track(iter("abc"), 3, "scoring"):
        seen.append(item)
        time.sleep(0.05)
    assert seen == list("abc")
    assert any("of 3 cases" in message for message in quick.messages)
