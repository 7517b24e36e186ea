"""Candidates, their cost, and which one is taken."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from balrsam_pipeline.network import preset
from balrsam_pipeline.plan import Configuration, NetworkPlan
from balrsam_pipeline.volume_plan import VolumePlan
from evaluation.best_configuration.candidates import Candidate, candidates, prediction_cost
from evaluation.best_configuration.ranking import rank


def configuration(name: str, slicing_axes: tuple[int, ...] = (0,), context: int = 0) -> Configuration:
    network = NetworkPlan(
        backbone="vit_mini",
        from_scratch=True,
        input_channels=1 + 2 * context,
        classes=2,
        input_size=(112, 112),
        lora_rank=0,
        lora_alpha=1.0,
        adapter_rank=0,
        decoder_attention="exact",
        decoder_rank=8,
        cden_width=8,
        mask_stride=4,
    )
    return Configuration(
        name=name,
        transpose=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        slicing_axes=slicing_axes,
        context_slices=context,
        normalization=("z_score",),
        normalize_inside_mask=(False,),
        patch_size=(64, 64),
        batch_size=2,
        mirror_axes=(),
        network=network,
    )


THREE = (
    configuration("2d"),
    configuration("2.5d", context=1),
    configuration("triplanar", slicing_axes=(0, 1, 2)),
)


def test_every_configuration_every_pair_and_all_together_are_candidates() -> None:
    names = [item.name for item in candidates(THREE)]
    assert names == [
        "2d",
        "2.5d",
        "triplanar",
        "2d + 2.5d",
        "2d + triplanar",
        "2.5d + triplanar",
        "2d + 2.5d + triplanar",
    ]
    assert [item.name for item in candidates(THREE[:2])] == ["2d", "2.5d", "2d + 2.5d"]
    assert len(candidates(THREE, ensembles=False)) == 3


def test_three_orientations_cost_three_times_as_much_and_context_a_little_more() -> None:
    flat, context, triplanar = map(prediction_cost, THREE)
    assert triplanar == pytest.approx(3 * flat)
    assert flat < context < 1.1 * flat


def table(level: float, spread: float, seed: int) -> np.ndarray:
    return np.clip(np.random.default_rng(seed).normal(level, spread, (40, 2)), 0, 1)


SHOWN = (112, 160)
FROM_SCRATCH_3D = VolumePlan(
    depth=16, pooling=((2, 2, 2),) * 2, kernels=((3, 3, 3),) * 3, widths=(16, 32, 64)
)
NETWORKS = {
    "cnn": replace(preset("cnn", classes=3, input_channels=1), input_size=SHOWN),
    "vit_mini": replace(preset("vit_mini", classes=3, input_channels=1), input_size=SHOWN),
    "vit_t": replace(preset("vit_t", classes=3), input_size=(64, 96)),
    "vit_t, pyramid, half the size": replace(
        preset("vit_t", classes=3), input_size=(128, 192), decoder="pyramid", encoder_shrink=2
    ),
    "3d": replace(
        preset("vit_mini", classes=3, input_channels=1), input_size=(32, 32), volume=FROM_SCRATCH_3D
    ),
}


def cost_of(network: NetworkPlan) -> float:
    return prediction_cost(replace(THREE[0], network=network, patch_size=network.input_size))


def products_of_layers(network: NetworkPlan) -> int:
    """By hooks on a real network: of each convolution and linear layer, its weights times the places where
    they are used."""
    from balrsam_pipeline.network import random_model

    model, products = random_model(network).eval(), 0

    def count(layer: torch.nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal products
        channels = -1 if isinstance(layer, torch.nn.Linear) else 1
        products += layer.weight.numel() * output.numel() // output.shape[channels]

    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d | torch.nn.Conv3d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        model(torch.zeros(1, network.input_channels, *network.input_shape))
    return products


@pytest.mark.parametrize("name", NETWORKS)
def test_cost_counts_the_layers_of_the_network_that_is_built(name: str) -> None:
    """Besides these there are products of attention and those of weights outside such layers."""
    network = NETWORKS[name]
    layers = products_of_layers(network) / math.prod(network.input_shape) / 1000
    assert layers * 0.999 <= cost_of(network) <= layers * (1.001 if name == "cnn" else 1.5)


def test_a_network_of_convolutions_alone_costs_less_than_half_of_the_small_vit() -> None:
    """As a step of it takes about a quarter of the time (docs/network.md)."""
    assert cost_of(NETWORKS["cnn"]) < cost_of(NETWORKS["vit_mini"]) / 2


CHEAP, DEAR = Candidate(configurations=("2d",), cost=1.0), Candidate(configurations=("triplanar",), cost=3.0)


def test_the_better_one_is_taken_where_the_difference_is_clear() -> None:
    scores, chosen, reason = rank({CHEAP: table(0.7, 0.01, 0), DEAR: table(0.8, 0.01, 1)})
    assert chosen == DEAR
    assert [score.configurations for score in scores] == [("triplanar",), ("2d",)]
    assert not scores[1].tied_with_best
    assert scores[1].p_value is not None and scores[1].p_value < 0.001
    assert "highest" in reason


def test_the_cheaper_one_is_taken_within_noise_and_the_reason_says_so() -> None:
    base = table(0.8, 0.05, 0)
    _, chosen, reason = rank(
        {CHEAP: base, DEAR: base + np.random.default_rng(3).normal(0.01, 0.05, base.shape)}
    )
    assert chosen == CHEAP
    assert "within noise" in reason and "includes 0" in reason and "costs 33%" in reason


def test_of_few_cases_only_a_small_difference_is_within_noise() -> None:
    """The Wilcoxon p of five cases is 0.0625 at best, however clear they are."""
    good = 0.90 + 0.01 * np.random.default_rng(0).random((5, 1))
    scores, chosen, _ = rank({DEAR: good, CHEAP: good - 0.59})
    assert chosen == DEAR and not scores[1].tied_with_best and scores[1].p_value == 0.0625
    _, chosen, reason = rank({DEAR: good, CHEAP: good - 0.005})
    assert chosen == CHEAP and "too few cases to test, 5; a difference of at most 0.005 is small" in reason


def test_a_candidate_that_fails_on_some_cases_is_not_within_noise() -> None:
    """A little better on 14 of 20 cases, far worse on 6: ranks alone would call it a tie (p = 1)."""
    rng = np.random.default_rng(0)
    dear = 0.85 + 0.03 * rng.random((20, 1))
    cheap = dear + 0.003 * rng.random((20, 1))
    cheap[:6] -= 0.6 + 0.01 * np.arange(6)[:, None]
    scores, chosen, _ = rank({DEAR: dear, CHEAP: cheap})
    assert scores[1].p_value is not None and scores[1].p_value > 0.5
    assert chosen == DEAR and not scores[1].tied_with_best


def test_a_test_that_favours_the_cheaper_one_is_no_proof_against_it() -> None:
    """Better by 0.01 in 38 of 40 cases, failing in 2, which decide the mean: the interval includes 0."""
    dear = 0.84 + 0.01 * np.random.default_rng(0).random((40, 1))
    cheap = dear + 0.01
    cheap[:2] -= 0.5
    scores, chosen, reason = rank({DEAR: dear, CHEAP: cheap})
    assert scores[0].configurations == ("triplanar",) and scores[1].p_value is not None
    assert scores[1].p_value < 0.001
    assert chosen == CHEAP and scores[1].tied_with_best
    assert "(better in most cases by a paired Wilcoxon test, p = " in reason and "includes 0" in reason
    cheap[:8] -= 0.5  # eight failures are beyond chance
    scores, chosen, _ = rank({DEAR: dear, CHEAP: cheap})
    assert chosen == DEAR and not scores[1].tied_with_best


def test_a_small_difference_of_many_cases_needs_no_interval_but_a_test() -> None:
    """Differences of 0.008 and -0.002 in turn have the mean 0.003; a constant 0.003 shows in every case."""
    dear = np.full((40, 1), 0.8)
    turns = np.where(np.arange(40)[:, None] % 5 < 2, 0.0105, -0.002)
    _, chosen, reason = rank({DEAR: dear, CHEAP: dear - turns})
    assert chosen == CHEAP and "a difference of at most 0.005 is small" in reason
    assert rank({DEAR: dear, CHEAP: dear - 0.003})[1] == DEAR


def test_the_better_one_is_taken_within_noise_where_accuracy_is_preferred() -> None:
    base = table(0.8, 0.05, 0)
    dear = base + np.random.default_rng(3).normal(0.01, 0.05, base.shape)
    scores, chosen, reason = rank({CHEAP: base, DEAR: dear}, prefer="accuracy")
    assert chosen == DEAR and scores[1].tied_with_best
    assert "accuracy is preferred" in reason and "costs 33%" in reason


def test_the_interval_holds_the_mean() -> None:
    (score,), chosen, reason = rank({CHEAP: table(0.8, 0.05, 0)})
    assert score.dice_low < score.dice < score.dice_high
    assert chosen == CHEAP and "only candidate" in reason


def test_the_cheaper_one_is_not_taken_for_painting_where_nothing_is() -> None:
    """On 14 of 20 cases the reference is empty: the dear one leaves it empty (NaN), the cheap one paints."""
    dear, cheap = np.full((20, 1), np.nan), np.zeros((20, 1))
    dear[:6] = cheap[:6] = 0.85
    scores, chosen, _ = rank({CHEAP: cheap, DEAR: dear})
    assert chosen == DEAR and not scores[1].tied_with_best
    assert [score.dice for score in scores] == pytest.approx([(6 * 0.85 + 14) / 20, 6 * 0.85 / 20])


def test_cases_that_are_empty_for_everybody_count_for_nobody() -> None:
    table = np.full((10, 1), np.nan)
    table[:4] = 0.7
    scores, _, _ = rank({CHEAP: table, DEAR: table})
    assert [score.dice for score in scores] == [0.7, 0.7]
