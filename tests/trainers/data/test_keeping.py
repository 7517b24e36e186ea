"""When the output of a frozen encoder is kept, and what names it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from balrsam_pipeline.network import BalrSam, preset
from trainers.config import TrainingConfig
from trainers.data.keeping import Encoder, Machine, copies, covering, features_key, why_not_kept
from trainers.data.sampling import SamplingCase

CASES = (
    SamplingCase(case="a", shape_zyx=(5, 30, 20)),
    SamplingCase(case="b", shape_zyx=(3, 32, 32)),
)
HERE = Machine(device="cpu", workers=0, room_bytes=10**12)


@pytest.fixture
def planned(make_configuration):
    """A configuration whose patches show whole slices of CASES to LiteMedSAM's encoder."""

    def make(channels=3, projection="learnt", **changes):
        network = dataclasses.replace(
            preset("vit_t", classes=3), input_channels=channels, projection=projection, input_size=(32, 32)
        )
        return make_configuration(**{"patch_size": (32, 32), "network": network} | changes)

    return make


def test_features_of_whole_slices_are_kept(planned):
    assert why_not_kept(planned(), TrainingConfig(), CASES, 1000, HERE) == ""
    assert why_not_kept(planned(1, "fixed"), TrainingConfig(), CASES, 1000, HERE) == ""


@pytest.mark.parametrize(
    "changes, settings, machine, reason",
    [
        ({}, {}, {"device": "cuda"}, "cuda"),
        ({}, {}, {"workers": 2}, "worker"),
        ({}, {"freeze": "nothing"}, {}, "trained"),
        ({"channels": 2}, {}, {}, "projection"),
        ({"patch_size": (32, 24)}, {}, {}, "parts of slices"),
        ({"slicing_axes": (0, 1, 2), "patch_size": (32, 24)}, {}, {}, "parts of slices"),
        ({}, {}, {"room_bytes": 7999}, "GB"),
    ],
)
def test_otherwise_the_reason_is_said(planned, changes, settings, machine, reason):
    machine = dataclasses.replace(HERE, **machine)
    assert reason in why_not_kept(planned(**changes), TrainingConfig(**settings), CASES, 1000, machine)


def test_a_larger_slice_of_a_validation_case_counts_too(planned):
    larger = (SamplingCase(case="c", shape_zyx=(1, 40, 32)),)
    assert "parts of slices" in why_not_kept(planned(), TrainingConfig(), CASES, 1000, HERE, larger)


def test_tiles_of_slices_are_kept_for_a_pyramid(planned):
    network = dataclasses.replace(planned().network, decoder="pyramid")
    tiled = planned(network=network, patch_size=(16, 16))
    assert why_not_kept(tiled, TrainingConfig(), CASES, 1000, HERE) == ""
    # 30 x 20 and 32 x 32 by patches of 16 x 16
    assert covering(tiled, CASES) == pytest.approx((30 * 20 + 32 * 32) / 256 / 2)


def test_eight_slices_of_four_gigabytes_in_all_are_too_much(planned):
    assert "4.0 GB" in why_not_kept(planned(), TrainingConfig(), CASES, 5 * 10**8 + 1, HERE)


def test_there_is_a_copy_for_each_order_of_neighbouring_slices(planned):
    assert copies(planned(mirror_axes=())) == 1
    assert copies(planned(mirror_axes=(0, 1, 2))) == 1  # of a single slice; the maps themselves are mirrored
    assert copies(planned(mirror_axes=(1, 2), context_slices=1)) == 1
    assert copies(planned(mirror_axes=(0, 1, 2), context_slices=1)) == 2


def test_the_key_tells_encoders_and_patches_apart_but_not_what_comes_after(planned):
    plan = planned()
    network = plan.network
    changed = [
        dataclasses.replace(plan, patch_size=(32, 48)),
        dataclasses.replace(plan, network=dataclasses.replace(network, adapted_stages=0)),
        dataclasses.replace(plan, network=dataclasses.replace(network, input_size=(48, 48))),
        dataclasses.replace(plan, network=dataclasses.replace(network, pixels="sam")),
        dataclasses.replace(plan, network=dataclasses.replace(network, input_ranges=((0.0, 2.0),) * 3)),
    ]
    keys = {features_key("base", each) for each in (plan, *changed)} | {features_key("other base", plan)}
    assert len(keys | {features_key("base", plan, torch.bfloat16)}) == 8
    after = dataclasses.replace(network, classes=9, cden_width=4, decoder_rank=8)
    assert features_key("base", dataclasses.replace(plan, network=after)) == features_key("base", plan)


def test_in_16_bits_the_encoder_says_nearly_the_same():
    """On CPUs with instructions for bfloat16 it takes less than half of the time."""
    torch.manual_seed(0)
    model = BalrSam(dataclasses.replace(preset("vit_t", classes=2), input_size=(64, 64))).eval()
    image_chw = np.random.default_rng(0).normal(size=(3, 64, 64)).astype(np.float32)
    exact, fast = Encoder(model)(image_chw), Encoder(model, torch.bfloat16)(image_chw)
    for one, other in zip(exact, fast, strict=True):
        assert one.dtype == torch.float32
        assert other.shape == one.shape
        assert 0 < (one - other.float()).norm() / one.norm() < 0.1
