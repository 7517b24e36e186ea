"""Waiting for other ranks ends by a signal, and in a message that says who is missing where."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import count

import pytest
from torch.distributed import HashStore, TCPStore

from balrsam_pipeline.errors import TrainingError
from trainers.parallel import meeting
from trainers.parallel.meeting import meet

WAITING = """
import sys
import trainers.parallel.meeting as meeting
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.logs import log_to_stderr
from trainers.stopping import stop_before_training

log_to_stderr()
meeting.TOLD_AFTER_S = 0.5
try:
    with stop_before_training():
        meeting.meet(int(sys.argv[1]), int(sys.argv[2]))
except BalrsamError as problem:
    sys.exit(problem.exit_code)
"""


def free_port() -> str:
    with closing(socket.socket()) as place:
        place.bind(("127.0.0.1", 0))
        return str(place.getsockname()[1])


@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_rank_that_waits_says_for_what_and_ends_by_sigterm(rank: str) -> None:
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, rank, "2"],
        env={**os.environ, **place},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "has waited" in line)
        assert f"rank {rank} has waited" in line and f"127.0.0.1:{place['MASTER_PORT']}" in line
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(timeout=60) == 75
        assert time.monotonic() - began < 20
    finally:
        process.kill()


@pytest.mark.parametrize("hosted", [True, False], ids=["by a launcher", "by rank 0"])
def test_two_of_three_ranks_wait_for_the_third_and_end_by_sigterm(hosted: bool) -> None:
    """Whoever keeps the place where they meet: rank 0, or torchrun, whose ranks come to it as guests."""
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    host = TCPStore("127.0.0.1", int(place["MASTER_PORT"]), None, True) if hosted else None
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", WAITING, number, "3"],
            env={**os.environ, **place, "TORCHELASTIC_USE_AGENT_STORE": str(hosted)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in ("0", "1")
    ]
    try:
        for rank in ranks:
            assert rank.stderr is not None
            assert any("has waited" in line and "all of 3 ranks" in line for line in rank.stderr)
        for rank in reversed(ranks):
            rank.send_signal(signal.SIGTERM)
            assert rank.wait(timeout=20) == 75
    finally:
        for rank in ranks:
            rank.kill()
        del host


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_that_never_come_are_a_message(rank: int, monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", port)
    with pytest.raises(TrainingError, match=f"127.0.0.1:{port}") as caught:
        meet(rank, 2, timedelta(seconds=1))
    assert "unset RANK" in caught.value.fix
    assert "python -m balrsam_pipeline.execution.launch --processes 2 -- train" in caught.value.fix


def test_a_port_that_somebody_else_has_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", port)
        with pytest.raises(TrainingError, match=f"127.0.0.1:{port}") as caught:
            meet(0, 2, timedelta(seconds=1))
    assert "taken" in caught.value.found
    assert "MASTER_PORT" in caught.value.fix and "--master-port" in caught.value.fix


def test_a_launcher_that_says_nowhere_to_meet_is_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("MASTER_PORT", "1")
    with pytest.raises(TrainingError, match="MASTER_ADDR"):
        meet(0, 2, timedelta(seconds=1))


def test_ranks_that_have_met_wait_for_a_validation_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of `crossval` wait for the first one, which validates each fold alone."""
    limits: list[timedelta] = []

    def rendezvous(*_: object, timeout: timedelta) -> Iterator[object]:
        limits.append(timeout)
        yield HashStore(), 0, 1

    monkeypatch.setattr(meeting, "rendezvous", rendezvous)
    monkeypatch.setattr(meeting, "_NUMBERS", count())
    for _ in range(2):
        meet(0, 1)
    assert limits[0] == timedelta(minutes=30) and limits[1] >= timedelta(days=1)
