"""The decoder's low-rank start: keys and values from one latent, by truncated higher-order SVD of SAM's own
projections.

The key and value projections of an attention, 256 × heads × d each, are one tensor 256 × (2·heads) × d.
Truncating it along its first mode, the one every image token passes through, keeps `rank` directions U; the
rest of the tensor is the core.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SharedLatent:
    """latent (rank, 256), key_core and value_core (128, rank): Wk ≈ key_core · latent, Wv ≈ value_core ·
    latent."""

    latent: Tensor
    key_core: Tensor
    value_core: Tensor


def shared_latent(
    key_weight: Tensor, value_weight: Tensor, rank: int, second_moment: Tensor | None = None
) -> SharedLatent:
    """The best shared latent of a rank.

    Args:
        key_weight, value_weight: (128, 256), as nn.Linear stores them.
        second_moment: (256, 256), mean of x·xᵀ over image tokens x. With it the error of keys and values on
            such tokens is smallest, without it the error of the weights.

    Source: BALR-SAM, low-rank tensor attention; De Lathauwer et al. 2000 (HOSVD).
    """
    stacked = torch.cat([key_weight, value_weight]).double()  # the first-mode unfolding, transposed
    root, inverse = _roots(second_moment, stacked.shape[1])
    left, values, right = torch.linalg.svd(stacked @ root, full_matrices=False)
    core = left[:, :rank] * values[:rank].sqrt()
    latent = values[:rank].sqrt()[:, None] * right[:rank] @ inverse
    keys, to_values = core.to(key_weight.dtype).chunk(2)
    return SharedLatent(latent.to(key_weight.dtype), keys.contiguous(), to_values.contiguous())


def _roots(second_moment: Tensor | None, size: int) -> tuple[Tensor, Tensor]:
    """M^½ and M^-½; directions that never occur are given a small floor, so that the inverse exists."""
    if second_moment is None:
        identity = torch.eye(size, dtype=torch.float64)
        return identity, identity
    values, vectors = torch.linalg.eigh(second_moment.double())
    values = values.clamp_min(1e-6 * float(values.max()))
    return (vectors * values.sqrt()) @ vectors.T, (vectors * values.rsqrt()) @ vectors.T
