"""Normalisation by name, ranks, checkpointed blocks."""

from __future__ import annotations

import pytest
from support.fingerprints import make_fingerprint

from planners.rules.batch_size import checkpointed_blocks
from planners.rules.checkpoint import network_preset
from planners.rules.normalization import normalization, normalize_inside_mask


def test_normalisation_goes_by_channel_name() -> None:
    names = ("CT", "T1", "noNorm", "zscore", "rescale_to_0_1", "rgb_to_0_1", "R")
    expected = ("ct", "z_score", "none", "z_score", "rescale_to_0_1", "rgb_to_0_1", "z_score")
    assert normalization(names).value == expected


@pytest.mark.parametrize(("kept", "expected"), [(1.0, (False, False)), (0.5, (True, False))])
def test_z_scores_look_inside_the_mask_where_much_was_cropped(
    kept: float, expected: tuple[bool, bool]
) -> None:
    assert normalize_inside_mask(make_fingerprint(kept=kept), ("z_score", "ct")).value == expected


def test_only_adapted_networks_have_adapters() -> None:
    assert network_preset("vit_mini").value.adapter_rank == 0
    assert (network_preset("vit_b").value.lora_rank, network_preset("vit_b").value.adapter_rank) == (4, 32)


def test_on_a_cpu_nothing_before_tiny_vits_embedding_trains() -> None:
    here, there = network_preset("vit_t", cpu=True).value, network_preset("vit_t").value
    assert (here.adapted_stages, here.projection) == (0, "fixed")
    assert (there.adapted_stages, there.projection) == (1, "learnt")


@pytest.mark.parametrize(
    ("input_yx", "from_scratch", "expected"),
    [((1024, 1024), False, 4), ((512, 512), False, 4), ((448, 448), False, 0), ((512, 512), True, 0)],
)
def test_global_blocks_are_checkpointed_where_memory_is_what_binds(
    input_yx: tuple[int, int], from_scratch: bool, expected: int
) -> None:
    assert checkpointed_blocks(input_yx, from_scratch=from_scratch).value == expected
