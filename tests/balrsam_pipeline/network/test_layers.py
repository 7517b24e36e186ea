"""Faster layers are the same functions."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from support.plans import example_plan
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from balrsam_pipeline.network.builder import random_model
from balrsam_pipeline.network.cuda_policy import cuda_policy
from balrsam_pipeline.network.layers import LayerNorm2d, Linear, project, shrunk
from balrsam_pipeline.network.profiling import count_saved_bytes
from balrsam_pipeline.network.stock_sam import sam_modeling


@pytest.mark.parametrize("shape", [(32, 7, 5, 24), (1, 64, 24), (3, 5, 24), (24,)])
def test_project_is_a_linear_layer_with_its_gradients(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    results = []
    tokens = torch.randn(shape, requires_grad=True)
    weight, bias = torch.randn(10, 24, requires_grad=True), torch.randn(10, requires_grad=True)
    for function in (functional.linear, project):
        out = function(tokens, weight, bias)
        results.append((out, *torch.autograd.grad(out.square().sum(), (tokens, weight, bias))))
    for expected, found in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("times", [2, 3, (3, 2), (1, 2, 2), (2, 2, 2), (4, 1, 3)])
def test_shrunk_images_are_means_of_cells(times: int | tuple[int, ...]) -> None:
    image = torch.randn(2, 3, 8, 12, 12)
    cells = (1, times, times) if isinstance(times, int) else (1,) * (3 - len(times)) + times
    torch.testing.assert_close(shrunk(image, times), functional.avg_pool3d(image, cells), atol=1e-6, rtol=0)


def test_frozen_linear_layers_save_nothing() -> None:
    layer = Linear(24, 24).requires_grad_(False)
    tokens = torch.randn(2, 16, 24, requires_grad=True)
    with count_saved_bytes(layer) as saved:
        layer(tokens)
    assert saved.total == 0


def test_layer_norm_of_pixels_equals_sams() -> None:
    sam_modeling()
    from segment_anything.modeling.common import LayerNorm2d as StockLayerNorm2d

    image = torch.randn(2, 16, 5, 7)
    torch.testing.assert_close(LayerNorm2d(16)(image), StockLayerNorm2d(16)(image), atol=1e-5, rtol=1e-5)


def test_saved_bytes_count_each_storage_once_and_no_parameters() -> None:
    weight = torch.nn.Parameter(torch.randn(4, 4))
    module = torch.nn.Module()
    module.weight = weight
    x = torch.randn(8, 4, requires_grad=True)
    with count_saved_bytes(module) as saved:
        (x @ weight + x[:4].repeat(2, 1) @ weight).sum()
    assert saved.total == 2 * 8 * 4 * 4  # x, and the repeated copy; the weight is not counted


def test_the_command_module_imports_no_torch() -> None:
    code = "import sys, balrsam_pipeline.network.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_on_a_card_attention_never_comes_from_cudnn() -> None:
    """On Hopper PyTorch prefers cuDNN's, also for queries longer than values, of which cuDNN has refused some
    lengths in backward; here the memory that is counted is that of PyTorch's own kernels."""
    allowed: list[tuple[bool, bool]] = []

    class Noting(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") == "scaled_dot_product_attention":
                cuda = torch.backends.cuda
                allowed.append((cuda.cudnn_sdp_enabled(), cuda.mem_efficient_sdp_enabled()))
            return func(*args, **(kwargs or {}))

    with torch.device("meta"):
        model = random_model(example_plan().configurations["2d"].network)
        with cuda_policy(), Noting():
            model(torch.empty(2, model.network.input_channels, 64, 64))
    assert len(allowed) > 2
    assert set(allowed) == {(False, True)}
    assert torch.backends.cuda.cudnn_sdp_enabled()
