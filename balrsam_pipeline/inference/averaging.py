"""Several networks as one: their mean, of as many patches at once as memory holds."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from balrsam_pipeline.memory import is_want_of_memory
from balrsam_pipeline.network import Features

LOG = logging.getLogger(__name__)
Network = Callable[..., Tensor]  # of an image, and where it has an encoder of what that made of it


@dataclass(slots=True)
class BatchLimit:
    """How many patches memory holds at once: learnt when it did not hold a batch, for all later ones."""

    patches: int = sys.maxsize


def mean_over_networks(
    networks: Sequence[Network],
    batch_bchw: Tensor,
    limit: BatchLimit,
    encoded: Sequence[tuple[Tensor, ...] | None] | None = None,
) -> Tensor:
    """Averaged logits in float32, of as many patches at once as memory holds.

    Args:
        limit: what is known of that; becomes smaller whenever memory runs out.
        encoded: for each network what its encoder made of the batch, None where it has yet to.
    """
    encoded = encoded or [None] * len(networks)
    parts: list[Tensor] = []
    start = 0
    while start < len(batch_bchw):
        size = min(limit.patches, len(batch_bchw) - start)
        piece = slice(start, start + size)
        maps = [each and tuple(one[piece] for one in each) for each in encoded]
        try:
            parts.append(_mean(networks, batch_bchw[piece], maps))
            start += size
            continue
        except (MemoryError, RuntimeError) as problem:
            if size == 1 or not is_want_of_memory(problem):
                raise
        limit.patches = size // 2
        LOG.warning("memory does not hold %d patches at once; going on with %d", size, limit.patches)
        _let_go_of_kept_memory()
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _mean(
    networks: Sequence[Network], batch_bchw: Tensor, encoded: Sequence[tuple[Tensor, ...] | None]
) -> Tensor:
    total: Tensor | None = None
    for network, maps in zip(networks, encoded, strict=True):
        logits = (network(batch_bchw) if maps is None else network(batch_bchw, Features(*maps))).float()
        total = logits if total is None else total + logits
    if total is None:
        raise ValueError("no networks to predict with")
    return total / len(networks)


def _let_go_of_kept_memory() -> None:
    """Have allocators of GPUs give back what they keep of batches that were too large."""
    torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
