"""Layers that encoder, decoder and CDEN share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class LayerNorm2d(nn.Module):
    """Normalises each pixel over its channels. The same function as SAM's, in one fused kernel instead of seven."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, image_bcyx: Tensor) -> Tensor:
        """(b, c, y, x) -> (b, c, y, x), channels_last in memory."""
        normed = functional.layer_norm(image_bcyx.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return normed.permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two linear layers with an activation between; parameter names are SAM's MLPBlock's."""

    def __init__(self, width: int, hidden: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, width) -> (…, width)."""
        out: Tensor = self.lin2(self.activation(self.lin1(tokens)))
        return out
