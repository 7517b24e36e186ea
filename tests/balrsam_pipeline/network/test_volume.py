"""The network over volumes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.apple import OnApple
from support.volumes import volume_configuration, volume_network
from torch import nn
from torch.nn import functional

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.network import build, count_cost, describe_network
from balrsam_pipeline.network.volume import read_masks, seen_smaller
from balrsam_pipeline.network.volume_layers import InstanceNorm3d
from balrsam_pipeline.volume_plan import VolumePlan


def test_logits_have_the_patch_s_shape_and_coarser_ones_those_of_the_levels() -> None:
    model = build(volume_network())
    output = model.forward_training(torch.randn(2, 1, 8, 16, 16))
    assert output.logits.shape == (2, 3, 8, 16, 16)
    assert [tuple(level.shape) for level in output.coarser_logits] == [(2, 3, 8, 8, 8), (2, 3, 4, 4, 4)]
    assert output.boundary_logits is None
    assert model.train(False).forward_training(torch.randn(1, 1, 8, 16, 16)).coarser_logits == ()


def test_coarser_training_sees_smaller_patches_at_the_same_places() -> None:
    model = build(volume_network(), None)
    image = torch.randn(2, 1, 8, 16, 16)
    assert model.train_coarser(2)
    output = model.forward_training(image)
    assert output.logits.shape == (2, 3, 8, 16, 16)
    assert [tuple(level.shape) for level in output.coarser_logits] == [(2, 3, 8, 4, 4), (2, 3, 4, 2, 2)]
    output.logits.square().mean().backward()
    assert model.tokens.pos_embed.grad.abs().sum() > 0
    with torch.no_grad():
        torch.testing.assert_close(model.train(False)(image), output.logits)  # so does quick validation
        assert not model.train_coarser(1)
        assert not torch.allclose(model(image), output.logits)


@pytest.mark.parametrize("sides", [(8, 8, 8), (4, 8, 8), (8, 12, 16)])
def test_smaller_patches_are_means_where_sides_divide_and_where_they_do_not(sides: tuple[int, ...]) -> None:
    image = torch.randn(2, 1, 8, 16, 16)
    expected = functional.adaptive_avg_pool3d(image, sides)
    torch.testing.assert_close(seen_smaller(image, sides), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("sides", [(4, 8, 8), (8, 12, 16)])
def test_on_mps_patches_are_made_smaller_without_the_operation_it_lacks(
    sides: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(functional, "adaptive_avg_pool3d")
    z, y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in (8, 16, 16)), indexing="ij")
    image = (z / 8 + y / 16 + x / 16)[None, None]  # a slope, of which means and what lies between are alike
    z, y, x = torch.meshgrid(*((torch.arange(side) + 0.5) / side for side in sides), indexing="ij")
    found = seen_smaller(image.as_subclass(OnApple), sides).as_subclass(torch.Tensor)
    torch.testing.assert_close(found, (z + y + x)[None, None])


def test_patches_of_one_cell_are_not_seen_smaller() -> None:
    model = build(volume_network(input_size=(4, 4)), None)
    image = torch.randn(2, 1, 8, 4, 4)
    whole = model.forward_training(image).logits
    assert not model.train_coarser(2), "else early stopping would wait for whole patches"
    torch.testing.assert_close(model.forward_training(image).logits, whole)


def test_positions_between_cells_are_those_around_them() -> None:
    tokens = build(volume_network(), None).tokens
    z, y, x = tokens.sides
    places = torch.stack(torch.meshgrid(*map(torch.arange, (z, y, x)), indexing="ij"), -1).float()
    placed = tokens._placed(places.reshape(-1, 3), [z, y // 2, x // 2]).view(z, y // 2, x // 2, 3)
    torch.testing.assert_close(placed[..., 0], places[:, ::2, ::2, 0])
    torch.testing.assert_close(placed[..., 1], places[:, ::2, ::2, 1] + 0.5)  # between two cells
    torch.testing.assert_close(placed[..., 2], places[:, ::2, ::2, 2] + 0.5)


def test_every_parameter_gets_a_gradient() -> None:
    model = build(volume_network())
    output = model.forward_training(torch.randn(2, 1, 8, 16, 16))
    sum(level.square().mean() for level in (output.logits, *output.coarser_logits)).backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert without == []


def test_training_and_evaluation_compute_the_same() -> None:
    model, image = build(volume_network()), torch.randn(2, 1, 8, 16, 16)
    trained = model.forward_training(image).logits
    with torch.no_grad():
        torch.testing.assert_close(model.train(False)(image), trained.detach(), rtol=1e-4, atol=1e-4)


def test_instance_norm_is_torch_s_forward_and_backward() -> None:
    norm, image = InstanceNorm3d(3), torch.randn(2, 3, 4, 5, 6, requires_grad=True)
    nn.init.normal_(norm.weight)
    expected = functional.instance_norm(image, weight=norm.weight, bias=norm.bias)
    torch.testing.assert_close(norm(image), expected)
    weights = torch.randn_like(expected)
    ours, theirs = (torch.autograd.grad((out * weights).sum(), image) for out in (norm(image), expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_masks_are_read_as_by_a_convolution_of_one_voxel() -> None:
    map_bczyx, weights, projection = torch.randn(1, 5, 2, 3, 4), torch.randn(1, 2, 32), torch.randn(32, 5)
    kernel = (weights[0] @ projection)[:, :, None, None, None]
    torch.testing.assert_close(
        read_masks(map_bczyx, weights, projection), functional.conv3d(map_bczyx, kernel)
    )


def test_cost_is_counted_and_described_without_memory() -> None:
    network = volume_network()
    one, two = (count_cost(network, network.input_shape, batch) for batch in (1, 2))
    assert one.parameters == one.trained == sum(p.numel() for p in build(network).parameters())
    assert 1.7 < two.saved_bytes / one.saved_bytes <= 2.0
    assert "8×16×16" in describe_network(network)


def test_strides_are_products_of_the_pooling() -> None:
    volume = volume_network().volume
    assert volume is not None
    assert volume.strides == ((1, 1, 1), (1, 2, 2), (2, 4, 4))


@pytest.mark.parametrize(
    "changes",
    [{"depth": 0}, {"pooling": ((2, 2, 2),)}, {"kernels": ((3, 3, 3),)}, {"widths": (4, 6, 0)}],
    ids=lambda changes: next(iter(changes)),
)
def test_values_that_make_no_sense_are_refused_by_name(changes: dict[str, object]) -> None:
    volume = volume_network().volume
    assert isinstance(volume, VolumePlan)
    with pytest.raises(PlanError, match=r"volume\."):
        dataclasses.replace(volume, **changes)  # type: ignore[arg-type]


def test_a_patch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(PlanError, match="multiples of 2 × 4 × 4"):
        volume_network(input_size=(16, 18))


def test_a_plan_of_volumes_survives_json_and_older_plans_keep_their_hash() -> None:
    from support.plans import example_plan

    from balrsam_pipeline.plan import Plan
    from balrsam_pipeline.serialise import from_json, to_json

    plan = example_plan()
    with_volume = dataclasses.replace(
        plan, configurations={"3d": volume_configuration()}, default_configuration="3d"
    )
    assert from_json(Plan, to_json(with_volume), "plan") == with_volume
    assert with_volume.configurations["3d"].patch_shape == (8, 16, 16)
    network = to_json(plan, without_added_defaults=True)["configurations"]["2d"]["network"]
    assert "volume" not in network
