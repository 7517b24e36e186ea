"""What goes in and comes out: sizes, channels, strides, gradients, merging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from balrsam_pipeline.errors import CheckpointError, PlanError
from balrsam_pipeline.network import (
    build,
    count_cost,
    measure_second_moments,
    start_on_images,
    trainable_state,
)
from balrsam_pipeline.network.attention import (
    Attention,
    join_windows,
    one_hot_positions,
    split_windows,
    window_of,
)
from balrsam_pipeline.plan import Backbone, NetworkPlan

MakePlan = Callable[..., NetworkPlan]
MakeCheckpoint = Callable[[Backbone], tuple[nn.Module, Path]]


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize(
    ("size", "patch"), [((112, 80), (56, 40)), ((64, 96), (64, 96)), ((32, 48), (37, 61))]
)
def test_logits_have_the_images_own_size(
    stride: int, size: tuple[int, int], patch: tuple[int, int], make_plan: MakePlan
) -> None:
    model = build(
        make_plan(from_scratch=True, input_channels=2, classes=3, input_size=size, mask_stride=stride)
    )
    output = model.forward_training(torch.randn(2, 2, *patch))
    assert output.logits.shape == (2, 3, *patch)
    assert output.boundary_logits is not None
    assert output.boundary_logits.shape == (2, 1, size[0] // 4, size[1] // 4)


def test_masks_are_decoded_at_the_stride_of_the_plan(make_plan: MakePlan) -> None:
    for stride in (1, 2, 4):
        model = build(make_plan(from_scratch=True, mask_stride=stride))
        embedding, details, _ = model.embed(torch.randn(1, 3, 112, 112))
        assert model.mask_decoder(embedding, details).shape[-2:] == (112 // stride, 112 // stride)


def test_everything_is_trained_from_scratch_and_every_parameter_gets_a_gradient(make_plan: MakePlan) -> None:
    model = build(make_plan(from_scratch=True, mask_stride=2, decoder_attention="low_rank"))
    output = model.forward_training(torch.randn(2, 3, 112, 112))
    assert output.boundary_logits is not None
    (output.logits.square().mean() + output.boundary_logits.square().mean()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_only_adapters_cden_and_decoder_are_trained_on_a_checkpoint(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    model = build(make_plan(input_channels=1), make_checkpoint("vit_mini")[1])
    output = model.forward_training(torch.randn(2, 1, 60, 60))
    assert output.boundary_logits is not None
    (output.logits.square().mean() + output.boundary_logits.square().mean()).backward()
    for name, parameter in model.named_parameters():
        trained = any(
            part in name for part in (".lora.", "_adapter.", "cden.", "mask_decoder.", "channel_projection.")
        )
        trained = trained and not name.endswith("position_frequencies")
        assert parameter.requires_grad == trained, name
        assert (parameter.grad is not None) == trained, name


@pytest.mark.parametrize("blocks", [2, 6])
def test_checkpointing_changes_memory_and_not_gradients(
    blocks: int, make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    image, gradients, kept = torch.randn(1, 3, 64, 64), [], []
    for count in (0, blocks):
        network = make_plan(input_size=(64, 64), checkpointed_blocks=count)
        torch.manual_seed(0)
        model = build(network, make_checkpoint("vit_mini")[1])
        model(image).square().sum().backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
        kept.append(count_cost(network, (64, 64)).saved_bytes)
    assert kept[1] < kept[0]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_blocks_can_be_computed_again_from_some_step_on(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    model = build(make_plan(input_size=(64, 64)), make_checkpoint("vit_mini")[1])
    image, gradients, again = torch.randn(1, 3, 64, 64), [], []
    for _ in range(2):
        model.zero_grad()
        model(image).square().sum().backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
        again.append(model.compute_again())
    assert again == [True, False]
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


def test_merging_keeps_the_logits_and_leaves_no_lora(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    model = build(make_plan(mask_stride=2), make_checkpoint("vit_mini")[1]).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora." in name:
                parameter.normal_(std=0.2)
        image = torch.randn(1, 3, 100, 90)
        before = model(image)
        model.merge_for_inference()
        torch.testing.assert_close(model(image), before, atol=1e-4, rtol=1e-4)
    assert not [name for name in model.state_dict() if ".lora." in name or "boundary" in name]


def test_a_grey_image_reaches_sam_as_three_equal_channels(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    model = build(make_plan(input_channels=1), make_checkpoint("vit_mini")[1])
    image = torch.randn(1, 1, 112, 112)
    assert model.channel_projection is not None
    torch.testing.assert_close(model.channel_projection(image), image.expand(-1, 3, -1, -1))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 33), st.integers(1, 33), st.integers(1, 3))
def test_windows_join_to_what_was_split(rows: int, columns: int, batch: int) -> None:
    window = window_of((rows, columns))
    tokens = torch.randn(batch, rows, columns, 2)
    padded = nn.functional.pad(tokens, (0, 0, 0, -columns % window[1], 0, -rows % window[0]))
    windows = split_windows(padded, window)
    assert windows.shape[1] == window[0] * window[1]
    torch.testing.assert_close(join_windows(windows, window, (rows, columns)), tokens)


@pytest.mark.parametrize("grid", [(7, 5), (14, 14), (28, 42), (3, 28)])
def test_planned_grids_are_not_padded(grid: tuple[int, int]) -> None:
    attention = Attention(12, 3, window_of(grid))
    seen = []
    attention.proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[1:3]))
    windows = split_windows(torch.zeros(1, *grid, 36), window_of(grid))
    attention(torch.randn(1, *grid, 12), one_hot_positions(window_of(grid)))
    assert windows.shape[0] * windows.shape[1] == grid[0] * grid[1]
    assert seen == [torch.Size(grid)]


def test_a_small_network_learns_a_bright_square(make_plan: MakePlan) -> None:
    torch.manual_seed(0)
    model = build(
        make_plan(
            from_scratch=True,
            input_channels=1,
            classes=2,
            input_size=(32, 32),
            mask_stride=2,
            decoder_attention="low_rank",
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(25):
        image = 0.3 * torch.randn(8, 1, 32, 32, generator=generator)
        label = torch.zeros(8, 32, 32, dtype=torch.long)
        for index, corner in enumerate(torch.randint(0, 20, (8, 2), generator=generator).tolist()):
            label[index, corner[0] : corner[0] + 12, corner[1] : corner[1] + 12] = 1
        loss = nn.functional.cross_entropy(model(image + label[:, None]), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_second_moments_are_those_of_the_tokens(make_plan: MakePlan, make_checkpoint: MakeCheckpoint) -> None:
    path = make_checkpoint("vit_mini")[1]
    model = build(make_plan(), path)
    moments = measure_second_moments(model, [torch.randn(2, 3, 112, 112)])
    assert [tuple(moment.shape) for moment in moments] == [(256, 256)] * 3
    for moment in moments:
        torch.testing.assert_close(moment, moment.T)
        assert float(torch.linalg.eigvalsh(moment.double())[0]) > -1e-4
    build(make_plan(decoder_attention="low_rank", decoder_rank=16), path, moments)


def test_a_low_rank_start_on_images_keeps_the_masks_of_such_images_closer_to_sams(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    path = make_checkpoint("vit_mini")[1]
    plan = make_plan(input_size=(64, 64))
    exact, low = build(plan, path), build(replace(plan, decoder_attention="low_rank", decoder_rank=8), path)
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(1, 3, 64, 64, generator=generator) for _ in range(4)]
    others = {name: p.clone() for name, p in low.named_parameters() if "_token_to_image." not in name}

    def error() -> float:
        with torch.no_grad():
            return float((low(images[3]) - exact(images[3])).norm())

    before = error()
    start_on_images(low, path, images[:3])
    assert error() < 0.9 * before
    for name, parameter in others.items():
        assert torch.equal(low.get_parameter(name), parameter), name


def test_a_checkpoint_is_needed_exactly_when_one_is_adapted(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    with pytest.raises(CheckpointError, match="download_checkpoint vit_mini"):
        build(make_plan())
    with pytest.raises(CheckpointError, match="trained from scratch"):
        build(make_plan(from_scratch=True), make_checkpoint("vit_mini")[1])
    with pytest.raises(PlanError, match="checkpointed_blocks"):
        make_plan(checkpointed_blocks=-1)


def test_trainable_state_is_small_beside_the_network(
    make_plan: MakePlan, make_checkpoint: MakeCheckpoint
) -> None:
    model = build(make_plan(), make_checkpoint("vit_mini")[1])
    assert not [name for name in trainable_state(model) if name.endswith(("qkv.weight", "pos_embed"))]
