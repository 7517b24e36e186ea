"""Layers that encoder, decoder and CDEN share, and what of an encoder can be kept and used again."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

RECOMPUTE_TOKENS = (
    1024  # image tokens (an input of 512×512) from which decoder and CDEN keep inputs alone for backward
)
# on Hopper PyTorch would choose cuDNN's attention, which has failed where queries are longer than values, and
# whose memory is not what is counted
CUDA_ATTENTION = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
BATCH = 16  # images from which oneDNN is chosen whatever the number of threads


class Features(NamedTuple):
    """Output of an encoder's `prefix`, input of its `suffix`; tensors alone, to be stored and stacked.

    Attributes:
        tokens_byxc: (b, y, x, c), what the suffix goes on from; the image embedding itself where no block is
            trained.
        early_byxc: (b, y, x, c), the early feature that CDEN reads, where the suffix neither computes it nor
            starts from it.
    """

    tokens_byxc: Tensor
    early_byxc: Tensor | None = None


def project(tokens: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A linear layer, (…, before) -> (…, after); on CPUs as a 1×1 convolution where that is the same for
    memory.

    PyTorch computes fp32 linear layers with MKL and convolutions with oneDNN. On the AMD CPU measured, oneDNN
    is 1.5 to 2 times as fast, forward and backward (benchmarks/network/linear_layers.py). Frozen weights stay
    linear layers while gradients are
    recorded: those save nothing, a convolution saves its input.
    """
    count = tokens.shape[:-1].numel()
    frozen = torch.is_grad_enabled() and not weight.requires_grad
    if (
        tokens.device.type != "cpu"
        or frozen
        or count % BATCH
        or count < 2 * BATCH
        or torch.compiler.is_compiling()
    ):
        return functional.linear(tokens, weight, bias)
    image_bcy1 = tokens.reshape(BATCH, count // BATCH, 1, -1).permute(0, 3, 1, 2)
    out = functional.conv2d(image_bcy1, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*tokens.shape[:-1], weight.shape[0])


def recompute(function: Callable[..., Tensor], *inputs: Tensor, when: bool) -> Tensor:
    """Call `function`; in training, `when` memory matters, keep its inputs alone and compute the rest again
    in backward."""
    if not when or not torch.is_grad_enabled():
        return function(*inputs)
    out: Tensor = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return out


def fused_attention(
    q_bntd: Tensor, k_bntd: Tensor, v_bntd: Tensor, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """softmax(scale · q · kᵀ + bias) · v, (b, n, t, d), by one fused kernel: on a CUDA device by one of
    PyTorch's own.

    Args:
        scale: None is the root of what queries are long, inverted.
    """
    if q_bntd.device.type != "cuda":
        return functional.scaled_dot_product_attention(q_bntd, k_bntd, v_bntd, attn_mask=bias, scale=scale)
    with sdpa_kernel(CUDA_ATTENTION):
        return functional.scaled_dot_product_attention(q_bntd, k_bntd, v_bntd, attn_mask=bias, scale=scale)


class Linear(nn.Linear):
    """`nn.Linear` by way of `project`."""

    def forward(self, input: Tensor) -> Tensor:
        """(…, before) -> (…, after)."""
        return project(input, self.weight, self.bias)


class LayerNorm2d(nn.Module):
    """Normalises each pixel over its channels. The same function as SAM's, in one fused kernel instead of
    seven."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """(b, c, y, x) -> (b, c, y, x), channels_last in memory."""
        normed = functional.layer_norm(
            image_bcyx.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6
        )
        return normed.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two linear layers with an activation between; parameter names are SAM's MLPBlock's."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = Linear(width, hidden)
        self.lin2 = Linear(hidden, width)
        self.activation = activation

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, width) -> (…, width)."""
        out: Tensor = self.lin2(self.activation(self.lin1(tokens)))
        return out


def shrunk(image: Tensor, times: int | tuple[int, ...]) -> Tensor:
    """Means of cells of an image whose sides they divide: what `avg_pool2d` gives, in about a quarter of its
    time on a CPU, or `avg_pool3d`, which MPS has no kernel for.

    Args:
        times: the cells' sides along the last axes; a number: along two of them.

    Example:
        >>> image = torch.rand(1, 2, 4, 6)
        >>> torch.allclose(shrunk(image, 2), nn.functional.avg_pool2d(image, 2))
        True
    """
    sides = (times, times) if isinstance(times, int) else times
    for axis, side in zip(range(-1, -1 - len(sides), -1), reversed(sides), strict=True):
        line = image.movedim(axis, -1)
        image = sum((line[..., first::side] for first in range(1, side)), start=line[..., ::side])
        image = image.movedim(-1, axis)
    return image / math.prod(sides)
