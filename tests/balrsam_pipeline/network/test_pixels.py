"""Encoders see the pixels that they were trained on, whatever our normalisation made of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from balrsam_pipeline.network import BalrSam
from balrsam_pipeline.plan import NetworkPlan

MakePlan = Callable[..., NetworkPlan]


def test_a_photograph_reaches_sam_as_it_was_trained(make_plan: MakePlan) -> None:
    """SAM's own preprocessing of RGB from 0 to 255 is the oracle."""
    model = BalrSam(make_plan(pixels="sam", input_ranges=((0.0, 1.0),) * 3))
    rgb = torch.randint(0, 256, (1, 3, 112, 112)).float()
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    torch.testing.assert_close(model.as_encoder_saw(rgb / 255), (rgb - mean) / std, atol=1e-5, rtol=1e-5)
    assert model.channel_projection is None


@pytest.mark.parametrize(("pixels", "black", "white"), [("0-1", 0.0, 1.0), ("sam", -2.1179, 2.2489)])
def test_z_scores_of_a_grey_image_are_clipped_and_shown_three_times(
    pixels: str, black: float, white: float, make_plan: MakePlan
) -> None:
    model = BalrSam(make_plan(input_channels=1, pixels=pixels, input_ranges=((-3.0, 3.0),)))
    image = torch.tensor([-9.0, -3.0, 3.0, 9.0]).view(1, 1, 2, 2)
    red, green, blue = model.as_encoder_saw(image)[0]
    torch.testing.assert_close(red.flatten(), torch.tensor([black, black, white, white]), atol=1e-4, rtol=0)
    if pixels == "0-1":
        assert torch.equal(red, green)
        assert torch.equal(red, blue)


def test_plans_without_ranges_show_the_encoder_the_input_as_it_is(make_plan: MakePlan) -> None:
    image = torch.randn(1, 3, 112, 112)
    assert torch.equal(BalrSam(make_plan()).as_encoder_saw(image), image)


def test_a_fixed_projection_is_not_trained(make_plan: MakePlan) -> None:
    from balrsam_pipeline.network.builder import freeze

    for projection in ("learnt", "fixed"):
        model = BalrSam(make_plan(input_channels=4, projection=projection))
        freeze(model)
        assert model.channel_projection is not None
        assert model.channel_projection.weight.requires_grad == (projection == "learnt")
