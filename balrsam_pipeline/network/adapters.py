"""Low-rank adapters: LoRA on q and v, and bottlenecks. Every up-projection starts at zero, so that SAM starts
as SAM.

Suffixes: b batch, y x token rows and columns, c channels, r rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from balrsam_pipeline.network.stack import AlongSlices


class Lora(nn.Module):
    """Low-rank update of a fused q,k,v projection, on q and v alone.

    Source: BALR-SAM, low-rank adaptation; Hu et al. 2021 (alpha / rank scaling).

    Args:
        width: channels of the block.
        rank: rank of each of the two updates.
        alpha: the update is scaled by alpha / rank.
    """

    def __init__(self, width: int, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.down = nn.Parameter(torch.empty(2 * rank, width))  # rows: q's down-projection, then v's
        self.up_q = nn.Parameter(torch.zeros(width, rank))
        self.up_v = nn.Parameter(torch.zeros(width, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, tokens_byxc: Tensor, qkv_byxc: Tensor) -> Tensor:
        """Add the update to the frozen projection's output `qkv_byxc` (…, 3·width)."""
        low_q, low_v = functional.linear(tokens_byxc, self.down).chunk(2, dim=-1)
        q, k, v = qkv_byxc.chunk(3, dim=-1)
        update_q = functional.linear(low_q, self.up_q) * self.scale
        update_v = functional.linear(low_v, self.up_v) * self.scale
        return torch.cat([q + update_q, k, v + update_v], dim=-1)

    def weight_update(self) -> Tensor:
        """The same update as a matrix (3·width, width) to add to the projection's weight."""
        down_q, down_v = self.down.chunk(2)
        update_q, update_v = self.up_q @ down_q, self.up_v @ down_v
        return self.scale * torch.cat([update_q, torch.zeros_like(update_q), update_v])


class Bottleneck(nn.Module):
    """Down, GELU, up: `forward` returns what is to be added, zero at initialisation.

    Source: BALR-SAM, adapters in every block; Houlsby et al. 2019.

    Args:
        width: channels of the block.
        rank: channels inside.
        stack: slices of a stack, which are mixed inside; 0 where each slice is seen alone.
    """

    def __init__(self, width: int, rank: int, stack: int = 0) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank)
        self.along = AlongSlices(rank, stack) if stack else None
        self.up = nn.Linear(rank, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, tokens_byxc: Tensor) -> Tensor:
        """(…, width) -> (…, width)."""
        inner = functional.gelu(self.down(tokens_byxc))
        update: Tensor = self.up(inner if self.along is None else self.along(inner))
        return update
