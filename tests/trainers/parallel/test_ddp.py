"""Which device a training process takes for its own."""

from __future__ import annotations

import pytest
import torch

from trainers.parallel import joined_ranks


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
