from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from support.plans import example_plan
from support.volumes import volume_network
from torch import nn

from balrsam_pipeline.network import preset, random_model, starts_as_sam
from balrsam_pipeline.network.builder import freeze
from trainers.config import TrainingConfig
from trainers.optimisation import WeightAverage, learning_rate, make_optimiser, set_learning_rate

PROJECTIONS = ("hypernetworks.weights.", "to_masks.", "key_core", "upscaling.weight")  # that are no layers
CONFIG = TrainingConfig(learning_rate=0.01, warmup_fraction=0.1)


def test_the_learning_rate_rises_linearly_then_falls_as_poly():
    assert learning_rate(0.0, CONFIG) == 0.0
    assert learning_rate(0.05, CONFIG) == pytest.approx(0.01 * 0.5 * 0.95**0.9)
    assert learning_rate(0.5, CONFIG) == pytest.approx(0.01 * 0.5**0.9)
    assert learning_rate(1.0, CONFIG) == 0.0


def test_norms_biases_positions_and_tokens_do_not_decay():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.norm = nn.Linear(3, 4), nn.LayerNorm(4)
            self.pos_embed, self.class_tokens = (
                nn.Parameter(torch.zeros(1, 2, 2, 4)),
                nn.Parameter(torch.zeros(2, 4)),
            )
            self.frozen = nn.Parameter(torch.zeros(3, 3), requires_grad=False)

    model = Model()
    decay = {
        id(p): group["weight_decay"]
        for group in make_optimiser(model, CONFIG).param_groups
        for p in group["params"]
    }
    assert decay == {
        id(model.linear.weight): CONFIG.weight_decay,
        **{
            id(p): 0.0
            for p in (
                model.linear.bias,
                model.norm.weight,
                model.norm.bias,
                model.pos_embed,
                model.class_tokens,
            )
        },
    }


@pytest.mark.parametrize(
    "network",
    [
        volume_network(hypernetworks="shared"),
        preset("vit_b", classes=3),
        preset("vit_t", classes=3),
        preset("vit_mini", classes=3),
        preset("cnn", classes=3),
    ],
    ids=["volumes", "vit_b", "vit_t", "vit_mini", "cnn"],
)
def test_projections_decay_whatever_the_modules_are_called_that_they_lie_in(network):
    """`tokens.`, `cross_attn_token_to_image.` and `to_embedding.` hold three quarters of some networks."""
    with torch.device("meta"):
        model = random_model(network)
    decay = {
        id(p): group["weight_decay"]
        for group in make_optimiser(model, CONFIG).param_groups
        for p in group["params"]
    }
    for name, parameter in model.named_parameters():
        module, _, own = name.rpartition(".")
        layer = isinstance(model.get_submodule(module), nn.Linear | nn.Conv2d | nn.Conv3d) and own == "weight"
        projects = layer or any(word in name for word in PROJECTIONS)
        assert decay[id(parameter)] == (CONFIG.weight_decay if projects else 0.0), name


def test_weights_of_sams_own_take_their_share_of_the_rate_and_lora_does_not_decay():
    network = replace(
        example_plan().configurations["2d"].network, from_scratch=False, lora_rank=2, adapter_rank=4
    )
    with torch.device("meta"):
        model = random_model(network)
    freeze(model)
    optimiser = make_optimiser(model, replace(CONFIG, pretrained_rate=0.25), partial(starts_as_sam, network))
    set_learning_rate(optimiser, 0.01)
    found = {
        id(p): (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for p in group["params"]
    }
    rates = {name: found[id(p)] for name, p in model.named_parameters() if p.requires_grad}
    assert len(rates) == len(found)
    for name, (rate, decay) in rates.items():
        assert rate == (0.0025 if name.startswith("mask_decoder.") else 0.01), name
        assert decay == 0.0 or ".lora." not in name
    assert rates["mask_decoder.upscaling.weight1"][1] == CONFIG.weight_decay


def test_the_average_of_constant_weights_is_those_weights_and_it_starts_as_the_first_step():
    weight = torch.zeros(3)
    average = WeightAverage({"w": weight, "count": torch.tensor(0)}, width=0.1)
    weight.fill_(2.0)
    average.update(1)
    assert torch.equal(average.average["w"], torch.full((3,), 2.0))
    for step in range(2, 50):
        average.update(step)
    torch.testing.assert_close(average.average["w"], torch.full((3,), 2.0))


def test_the_average_spans_the_same_share_of_any_budget():
    def lag(steps):
        weight = torch.zeros(1, dtype=torch.float64)
        average = WeightAverage({"w": weight}, width=0.1)
        for step in range(1, steps + 1):
            weight.fill_(float(step))
            average.update(step)
        return (steps - average.average["w"].item()) / steps

    assert lag(200) == pytest.approx(lag(2000), abs=0.01)
    assert 0.05 < lag(2000) < 0.15
