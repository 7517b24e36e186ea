"""Layers of the network over volumes: dense convolutions, instance norm, tokens that attend to each other.

Dense 3×3×3 convolutions cost about what depthwise ones do on CPUs (docs/network.md), so there are no others.
Maps are channels-last in memory on a CPU; on CUDA torch's group norm makes them channels-first (torch 2.13).

Suffixes: b batch, c channels, z y x voxels, s tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.layers import Linear, Mlp, fused_attention
from balrsam_pipeline.volume_plan import Zyx

EPSILON = 1e-5
SLOPE = 0.01  # of the leaky ReLU; nnU-Net's


class InstanceNorm3d(nn.Module):
    """Normalises each channel of each volume by itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, map_bczyx: Tensor) -> Tensor:
        """(b, c, z, y, x) -> the same.

        Training on a CPU, a batch norm of every volume takes half the time of a group norm, forward and
        backward, and leaves channels last (torch's instance norm copies them to the front).
        """
        if map_bczyx.device.type != "cpu" or not torch.is_grad_enabled():
            return functional.group_norm(map_bczyx, len(self.weight), self.weight, self.bias, EPSILON)
        normed = [
            functional.batch_norm(
                volume_1czyx, None, None, self.weight, self.bias, training=True, momentum=0.0, eps=EPSILON
            )
            for volume_1czyx in map_bczyx.chunk(len(map_bczyx))
        ]
        return torch.cat(normed)


class ConvBlock(nn.Module):
    """Dense convolution, instance norm, leaky ReLU; a stride of 2 halves a side."""

    def __init__(self, before: int, after: int, kernel: Zyx, stride: Zyx = (1, 1, 1)) -> None:
        super().__init__()
        z, y, x = (max(side, step) for side, step in zip(kernel, stride, strict=True))
        sides, padding = (z, y, x), (z % 2 and z // 2, y % 2 and y // 2, x % 2 and x // 2)
        self.conv = nn.Conv3d(before, after, sides, stride=stride, padding=padding, bias=False)
        self.norm = InstanceNorm3d(after)

    def forward(self, map_bczyx: Tensor) -> Tensor:
        """(b, before, z, y, x) -> (b, after, z / stride, …)."""
        return functional.leaky_relu(self.norm(self.conv(map_bczyx)), SLOPE, inplace=True)


class Fuse3d(nn.Module):
    """Coarse map narrowed and enlarged, added to the finer one, then a convolution; as CDEN's in slices."""

    def __init__(self, coarse: int, fine: int, kernel: Zyx) -> None:
        super().__init__()
        self.lateral = nn.Conv3d(coarse, fine, 1)
        self.block = ConvBlock(fine, fine, kernel)

    def forward(self, coarse_bczyx: Tensor, fine_bczyx: Tensor) -> Tensor:
        """Shape of `fine_bczyx`."""
        lateral = self.lateral(coarse_bczyx)
        size = list(fine_bczyx.shape[2:])
        out: Tensor = self.block(fine_bczyx + functional.interpolate(lateral, size=size, mode="trilinear"))
        return out


class TokenBlock(nn.Module):
    """One transformer block over all tokens of a patch."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width, functional.gelu)

    def forward(self, tokens_bsc: Tensor) -> Tensor:
        """(b, s, c) -> (b, s, c)."""
        b, s, width = tokens_bsc.shape
        qkv = self.qkv(self.norm1(tokens_bsc)).view(b, s, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = fused_attention(q, k, v)
        tokens_bsc = tokens_bsc + self.proj(mixed.transpose(1, 2).reshape(b, s, width))
        out: Tensor = tokens_bsc + self.mlp(self.norm2(tokens_bsc))
        return out
