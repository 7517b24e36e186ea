"""The counted memory of a training step against what real tensors take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.plans import example_plan

from balrsam_pipeline.network import BalrSam
from balrsam_pipeline.plan import NetworkPlan
from planners.memory import saved_bytes, training_memory

NETWORK = replace(example_plan().configurations["2d"].network, lora_rank=0, adapter_rank=0)


@pytest.mark.parametrize(
    "network", [NETWORK, replace(NETWORK, input_channels=3, mask_stride=1, input_size=(64, 64))]
)
@pytest.mark.parametrize("batch", [1, 3])
def test_counted_bytes_are_those_of_a_real_step(network: NetworkPlan, batch: int) -> None:
    counted = training_memory(network, (56, 40), batch, half=False)
    real = saved_bytes(BalrSam(network), torch.zeros(batch, network.input_channels, 56, 40))
    assert counted.saved == pytest.approx(real, rel=0.02)


def test_memory_grows_by_the_same_for_every_patch() -> None:
    one, two, four = (training_memory(NETWORK, (56, 40), batch, half=True).total for batch in (1, 2, 4))
    assert four - two == pytest.approx(2 * (two - one), rel=0.02)


def test_half_precision_keeps_less() -> None:
    half, full = (training_memory(NETWORK, (56, 40), 16, half=half).saved for half in (True, False))
    assert half < 0.8 * full  # the more patches, the less the half-precision copies of weights count


def test_only_what_trains_has_optimiser_state() -> None:
    adapted = replace(NETWORK, from_scratch=False, lora_rank=4, adapter_rank=8)
    assert (
        training_memory(adapted, (56, 40), 1, half=True).state
        < training_memory(NETWORK, (56, 40), 1, half=True).state
    )
