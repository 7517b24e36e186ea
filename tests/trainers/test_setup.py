"""What a training is put together with where nobody said it."""

from __future__ import annotations

import pytest
import torch

from trainers import setup
from trainers.data import workers
from trainers.setup import default_loader_workers


@pytest.fixture
def four_machines_of_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is a rank of 32, of which eight are on this machine of 128 cores."""
    monkeypatch.setattr(setup, "usable_cores", lambda: 128)
    monkeypatch.setenv("WORLD_SIZE", "32")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")


@pytest.mark.usefixtures("four_machines_of_eight")
def test_cores_are_shared_among_the_ranks_of_their_own_machine() -> None:
    assert default_loader_workers(torch.device("cuda")) == 12  # of 16 cores; 128 / 32 would leave 3
    assert default_loader_workers(torch.device("cpu")) == 0


@pytest.mark.usefixtures("four_machines_of_eight")
def test_shared_memory_is_shared_among_the_ranks_of_their_own_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def room_for_batches(sharing: int) -> int:
        asked.append(sharing)
        raise MemoryError

    monkeypatch.setattr(workers, "room_for_batches", room_for_batches)
    with pytest.raises(MemoryError):
        workers.loader_of(None, 4)  # type: ignore[arg-type]
    assert asked == [8]
