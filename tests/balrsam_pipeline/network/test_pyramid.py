"""The pyramid: shapes at every stride, what training gets besides, and what an encoder adds."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.network import Features, build, preset
from balrsam_pipeline.network.model import BalrSam
from balrsam_pipeline.network.pyramid import middle
from balrsam_pipeline.plan import NetworkPlan

SCRATCH = dataclasses.replace(preset("cnn", classes=3, input_channels=2), input_size=(48, 64))


def tiny(**changes: object) -> NetworkPlan:
    network = preset("vit_t", classes=3)
    return dataclasses.replace(
        network,
        input_size=(64, 96),
        decoder="pyramid",
        cden_width=16,
        mask_stride=2,
        adapted_stages=0,
        **changes,
    )


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_logits_have_the_images_size_and_training_sees_coarser_ones(stride: int) -> None:
    model = build(dataclasses.replace(SCRATCH, mask_stride=stride))
    output = model.forward_training(torch.randn(2, 2, 45, 60))
    assert output.logits.shape == (2, 3, 45, 60)
    sizes = [tuple(logits.shape) for logits in output.coarser_logits]
    assert sizes == [(2, 3, 48 // step, 64 // step) for step in (2 * stride, 4 * stride)]
    assert output.boundary_logits is not None and output.boundary_logits.shape == (2, 1, 12, 16)


def test_every_parameter_gets_a_gradient() -> None:
    model = build(SCRATCH)
    output = model.forward_training(torch.randn(2, 2, 48, 64))
    losses = [output.logits, output.boundary_logits, *output.coarser_logits]
    torch.stack([each.square().mean() for each in losses if each is not None]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_prediction_is_what_training_predicts_one_image_at_a_time() -> None:
    """GroupNorm looks at single images: nothing changes in eval mode or in batches."""
    model = build(SCRATCH)
    image = torch.randn(3, 2, 48, 64)
    trained = model(image)
    model.merge_for_inference()
    model.train(False)
    single = torch.cat([model(each[None]) for each in image])
    torch.testing.assert_close(single, trained, atol=1e-5, rtol=1e-5)
    assert model.forward_training(image).coarser_logits == ()


def test_coarser_training_is_training_on_smaller_images() -> None:
    model = build(SCRATCH)
    image = torch.randn(1, 2, 48, 64)
    small = build(dataclasses.replace(SCRATCH, input_size=(24 + 8, 32)))  # any size: convolutions alone
    small.load_state_dict(model.state_dict())
    logits, _, _ = small.pyramid(functional.avg_pool2d(image, 2))
    assert model.train_coarser(2)
    expected = functional.interpolate(logits, size=(48, 64), mode="bilinear", align_corners=False)
    torch.testing.assert_close(model(image), expected)
    torch.testing.assert_close(model.train(False)(image), expected)  # quick validation sees what is trained
    assert not model.train_coarser(1)
    assert not torch.allclose(model(image), expected)


@pytest.mark.parametrize(("side", "coarser"), [(64, False), (96, False), (112, True)])
def test_masks_as_fine_as_the_input_train_coarser_where_it_is_large(side: int, coarser: bool) -> None:
    model = build(dataclasses.replace(SCRATCH, mask_stride=1, input_size=(48, side)))
    image = torch.randn(1, 2, 48, side)
    before = model(image)
    assert model.train_coarser(2) == coarser
    assert torch.allclose(model(image), before) != coarser
    assert model(image).shape == before.shape
    assert not model.train_coarser(1)
    torch.testing.assert_close(model(image), before)


@pytest.mark.parametrize("shrink", [1, 2])
def test_kept_features_give_the_logits_of_the_encoder_itself(shrink: int) -> None:
    model = BalrSam(tiny(encoder_shrink=shrink)).train(False)
    image = torch.randn(2, 3, 64, 96)
    kept = model.prefix(image)
    assert kept.tokens_byxc.shape == (2, 16 // shrink, 24 // shrink, 256)
    with torch.no_grad():
        torch.testing.assert_close(model(image, Features(*kept)), model(image))


def test_what_the_encoder_sees_changes_the_masks() -> None:
    model = BalrSam(tiny()).train(False)
    image = torch.randn(1, 3, 64, 96)
    kept = model.prefix(image)
    other = Features(*(None if each is None else each.flip(1) for each in kept))
    with torch.no_grad():
        assert float((model(image, other) - model(image, kept)).abs().max()) > 1e-3


def test_a_network_without_an_encoder_has_no_prefix() -> None:
    with pytest.raises(ValueError, match="no image encoder"):
        build(SCRATCH).prefix(torch.zeros(1, 2, 48, 64))


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"decoder": "sam"}, "decoder"),
        ({"from_scratch": False}, "from_scratch"),
        ({"encoder_shrink": 2}, "encoder_shrink"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], name: str) -> None:
    with pytest.raises(PlanError, match=name):
        dataclasses.replace(SCRATCH, **changes)


def with_surroundings(times: int) -> NetworkPlan:
    return dataclasses.replace(
        SCRATCH, input_channels=4, surroundings=times, input_size=(64, 64), mask_stride=2
    )


@pytest.mark.parametrize("times", [2, 4, 8])
def test_surroundings_join_where_their_pixels_are_as_large_as_the_tiles(times: int) -> None:
    model = build(with_surroundings(times))
    image = torch.randn(2, 4, 64, 64)
    output = model.forward_training(image)
    assert output.logits.shape == (2, 3, 64, 64)
    losses = [output.logits, output.boundary_logits, *output.coarser_logits]
    torch.stack([each.square().mean() for each in losses if each is not None]).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    other = image.clone()
    other[:, 2:] = 0
    assert not torch.allclose(model(other), model(image))


@pytest.mark.parametrize("size", [8, 11, 14, 16])
@pytest.mark.parametrize("times", [2, 4, 8])
def test_the_middle_of_a_map_is_where_the_tile_lies(size: int, times: int) -> None:
    """Of a plane, so that each value is a place: the tile's cells lie evenly about the middle."""
    length = size * times
    plane = torch.arange(length, dtype=torch.float64).expand(1, 1, length, length)
    expected = (length - 1) / 2 + torch.arange(size) - (size - 1) / 2
    for found in (middle(plane, times), middle(plane.transpose(2, 3), times).transpose(2, 3)):
        torch.testing.assert_close(found[0, 0, 0], expected.double())


def test_surroundings_are_for_convolutions_alone() -> None:
    with pytest.raises(PlanError, match="surroundings"):
        tiny(surroundings=2)
