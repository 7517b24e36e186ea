"""Joining and leaving other processes, and which device a training process takes for its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import distributed

from balrsam_pipeline.errors import TrainingError
from trainers.parallel import ddp, joined_ranks


def test_a_single_process_on_another_gpu_makes_it_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else pinned memory and a context of 500 MB land on the first GPU, where another fold trains."""
    taken: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    second = torch.device("cuda", 1)
    with joined_ranks(second) as ranks:
        assert ranks.device == second
    with joined_ranks(torch.device("cpu")):
        pass
    assert taken == [second]


# With no switch of threads, whatever of gloo's waits for the GIL goes on waiting until a call gives it up.
JOINED_AGAIN_AND_AGAIN = """
import os, sys, torch
from torch import nn
from trainers.parallel import ddp, joined_ranks

ddp._SETTLED_S = 0.0  # which would give it up

def train():
    with joined_ranks(torch.device("cpu")) as ranks:
        model = ranks.wrap(nn.Linear(3, 1))
        sys.setswitchinterval(1000)
        model(torch.ones(2, 3)).sum().backward()
        ranks.agree(True, 0.5)

for port in sys.argv[1:]:
    os.environ["MASTER_PORT"] = port
    train()
    sys.setswitchinterval(0.005)
"""


def test_a_model_that_outlives_its_ranks_does_not_hang_when_it_is_freed() -> None:
    """Each time, one in about seven did."""
    sockets = [socket.socket() for _ in range(30)]
    for place in sockets:
        place.bind(("127.0.0.1", 0))
    ports = [str(place.getsockname()[1]) for place in sockets]
    for place in sockets:
        place.close()
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", JOINED_AGAIN_AND_AGAIN, *ports],
            env={**os.environ, **meeting, "RANK": number, "LOCAL_RANK": number},
        )
        for number in ("0", "1")
    ]
    try:
        assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()


ENDED_AT_ONCE = """
import torch
from trainers.parallel import joined_ranks

with joined_ranks(torch.device("cpu")) as ranks:
    ranks.agree(False, 0.5)
"""


def test_ranks_that_end_at_once_after_their_training_do_not_abort(tmp_path: Path) -> None:
    """Under torchrun half of the trainings ended so."""
    (tmp_path / "ended.py").write_text(ENDED_AT_ONCE)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    for _ in range(3):
        with closing(socket.socket()) as place:
            place.bind(("127.0.0.1", 0))
            port = str(place.getsockname()[1])
        done = subprocess.run(
            [*launcher, "--master-port", port, str(tmp_path / "ended.py")],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            timeout=120,
        )
        assert done.returncode == 0


TRAININGS_IN_A_ROW = """
import os, time, torch
from trainers.parallel import joined_ranks

for number in range(3):
    with joined_ranks(torch.device("cpu")) as ranks:
        assert ranks.agree(False, float(10 * number + ranks.rank)) == (False, 10 * number + 1)
    if ranks.first:
        time.sleep(1)
"""


def test_trainings_of_one_process_meet_at_the_same_place_one_after_the_other() -> None:
    """As the folds of `crossval` do, of which the first rank validates each while the others go on."""
    with closing(socket.socket()) as place:
        place.bind(("127.0.0.1", 0))
        port = str(place.getsockname()[1])
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", TRAININGS_IN_A_ROW],
            env={**os.environ, **meeting, "RANK": number, "LOCAL_RANK": number},
        )
        for number in ("0", "1")
    ]
    try:
        assert [rank.wait(timeout=60) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()


def test_a_rank_that_is_lost_between_meeting_and_joining_is_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ddp, "meet", lambda *_: distributed.HashStore())
    join = partial(distributed.init_process_group, timeout=timedelta(seconds=1))
    monkeypatch.setattr(distributed, "init_process_group", join)
    with pytest.raises(TrainingError, match="rank 0 of 2"), joined_ranks(torch.device("cpu")):
        pass
    assert not distributed.is_initialized()
