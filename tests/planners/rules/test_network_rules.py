"""Normalisation by name, backbone by memory and checkpoints, ranks."""

from __future__ import annotations

import pytest
from support.fingerprints import make_fingerprint

from balrsam_pipeline.plan import Backbone
from planners.hardware import Hardware
from planners.rules.backbone import backbone, network_preset
from planners.rules.batch_size import checkpointed_blocks
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


@pytest.mark.parametrize(
    ("memory", "available", "expected"),
    [
        (None, ("vit_b", "vit_h"), "vit_mini"),
        (24.0, ("vit_b", "vit_h"), "vit_h"),
        (16.0, ("vit_b", "vit_h"), "vit_b"),
        (24.0, (), "vit_mini"),
        (4.0, ("vit_b",), "vit_mini"),
    ],
)
def test_the_backbone_is_the_largest_that_fits_and_is_here(
    memory: float | None, available: tuple[Backbone, ...], expected: Backbone
) -> None:
    assert backbone(Hardware(gpu_memory_gb=memory), available).value == expected


def test_a_missing_checkpoint_is_named_in_the_reason() -> None:
    assert "download_checkpoint vit_b" in backbone(Hardware(gpu_memory_gb=12.0), ()).reason


def test_only_adapted_networks_have_adapters() -> None:
    assert network_preset("vit_mini").value.adapter_rank == 0
    assert (network_preset("vit_b").value.lora_rank, network_preset("vit_b").value.adapter_rank) == (4, 32)


@pytest.mark.parametrize(
    ("input_yx", "from_scratch", "expected"),
    [((1024, 1024), False, 4), ((512, 512), False, 4), ((448, 448), False, 0), ((512, 512), True, 0)],
)
def test_global_blocks_are_checkpointed_where_memory_is_what_binds(
    input_yx: tuple[int, int], from_scratch: bool, expected: int
) -> None:
    assert checkpointed_blocks(input_yx, from_scratch=from_scratch).value == expected
