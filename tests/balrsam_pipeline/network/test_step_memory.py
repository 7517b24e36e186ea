"""The counted memory of a training step against what real tensors take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.plans import example_plan
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from balrsam_pipeline.network import BalrSam, preset, step_memory
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.network.cuda_policy import cuda_policy
from balrsam_pipeline.network.step_memory import AUGMENTED_IMAGES, run_step
from balrsam_pipeline.plan import NetworkPlan

NETWORK = replace(example_plan().configurations["2d"].network, lora_rank=0, adapter_rank=0)
ADAPTED = replace(NETWORK, from_scratch=False, lora_rank=4, adapter_rank=8)
MINI = replace(preset("vit_mini"), mask_stride=1)
# (network, side, batch): classes and sides of the hardest plans, in sizes whose real step takes seconds
LARGE = (
    (replace(MINI, classes=2, mask_stride=2, input_size=(224, 224)), 224, 4),
    (replace(MINI, classes=14, input_size=(224, 224)), 224, 4),
    (replace(MINI, classes=118, input_size=(224, 224)), 224, 2),
    (replace(MINI, classes=14, input_size=(448, 448)), 448, 1),
    (replace(MINI, classes=2, mask_stride=2, input_size=(896, 896)), 896, 1),
    (replace(preset("vit_b", classes=14), mask_stride=1, input_size=(448, 448)), 448, 1),
)


def measured_peak(network: NetworkPlan, patch_yx: tuple[int, int], batch: int) -> int:
    """The most bytes that the CPU's allocator had given at once during a real step, by PyTorch's profiler."""
    model = BalrSam(network)
    if not network.from_scratch:
        freeze(model)
    model = model.to(memory_format=torch.channels_last)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        image = torch.randn(batch, network.input_channels, *patch_yx)
        run_step(model, image, torch.zeros(batch, *patch_yx, dtype=torch.int16))
    kineto = recorded.profiler
    assert kineto is not None
    events = kineto.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize("network", [NETWORK, replace(NETWORK, input_channels=3, classes=40, mask_stride=1)])
def test_the_counted_peak_is_that_of_a_real_step(network: NetworkPlan) -> None:
    counted = step_memory(network, (56, 40), 3, "cpu float32").step
    assert counted == pytest.approx(measured_peak(network, (56, 40), 3), rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "side", "batch"), LARGE)
def test_the_counted_peak_of_large_plans_is_that_of_a_real_step(
    network: NetworkPlan, side: int, batch: int
) -> None:
    counted = step_memory(network, (side, side), batch, "cpu float32").step
    assert counted == pytest.approx(measured_peak(network, (side, side), batch), rel=0.05)


def test_memory_on_a_card_never_grows_slower_with_a_larger_batch() -> None:
    one, two, four = (step_memory(NETWORK, (56, 40), batch).total for batch in (1, 2, 4))
    assert four - two >= 2 * (two - one) > 0


def test_half_precision_takes_less_and_a_card_takes_an_overhead() -> None:
    card, cpu = (step_memory(MINI, (64, 64), 4, policy) for policy in ("cuda half", "cpu float32"))
    assert card.step < 0.9 * cpu.step
    assert card.overhead >= 2**30
    assert cpu.overhead == 0


def test_on_a_card_a_second_batch_is_there_and_what_changes_its_intensities() -> None:
    small, large = (step_memory(MINI, (side, side), 2, "cuda half").step for side in (64, 128))
    images, labels = 2 * 4 * MINI.input_channels * (128**2 - 64**2), 2 * 2 * (128**2 - 64**2)
    assert large - small >= (1 + AUGMENTED_IMAGES) * images + labels


def test_only_what_trains_has_optimiser_state() -> None:
    assert step_memory(ADAPTED, (56, 40), 1).state < step_memory(NETWORK, (56, 40), 1).state


def test_blocks_that_are_computed_again_are_so_under_the_same_rules() -> None:
    once, again = (
        step_memory(replace(ADAPTED, checkpointed_blocks=blocks, input_size=(256, 256)), (256, 256), 4).step
        for blocks in (0, 6)
    )
    assert again < once


def test_each_class_costs_its_logits_and_little_more() -> None:
    few, many = (
        step_memory(replace(NETWORK, classes=classes, mask_stride=1), (224, 224), 1).step
        for classes in (2, 102)
    )
    maps = 100 * 224 * 224
    assert many - few < 26 * maps  # bytes a voxel and class; eight float32 maps alone would be 32


def test_products_are_half_and_norms_single_precision_as_cuda_autocast_has_them() -> None:
    layer = torch.nn.Linear(8, 8)
    with cuda_policy() as policy:
        tokens = torch.randn(2, 4, 8)
        product = layer(tokens)
        types = {
            "linear": product,
            "matmul": tokens @ tokens.transpose(1, 2),
            "layer_norm": functional.layer_norm(product, (8,)),
            "softmax": product.softmax(-1),
            "gelu": functional.gelu(product),
        }
        assert tokens.device.type == "cuda"
        assert layer(tokens).grad_fn is not None
        policy.forward_ends()
    half, single = torch.bfloat16, torch.float32
    expected = {"linear": half, "matmul": half, "layer_norm": single, "softmax": single, "gelu": half}
    assert {name: tensor.dtype for name, tensor in types.items()} == expected
    product.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == single
