"""The mask decoder's two attentions between class tokens and image tokens, in forms that keep few
activations.

Stock SAM projects all N image tokens to keys, values or queries and keeps those for backward. Here the few
class tokens are carried to the image's side instead, by re-association:

    scores  = (q·Wkᵀ)·Xᵀ        context = (softmax·X)·Wv

which is the same function (`exact`) with nothing of size N kept but X itself and the scores. `low_rank` also
replaces Wk and Wv, a third-order tensor 256 × heads × d each, by one shared latent z = X·U of R numbers a
token and two small cores.

Suffixes: b batch, n heads, t class tokens, s image tokens, c channels (256), d channels per head, r latent
rank.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from balrsam_pipeline.network.backbone import EMBEDDING
from balrsam_pipeline.network.layers import Linear

HEADS = 8
INNER = 128  # channels of q, k and v in SAM's cross attention, over all heads
HEAD = INNER // HEADS


def split_heads(tokens_btc: Tensor) -> Tensor:
    """(b, t, n·d) -> (b, n, t, d)."""
    b, t, _ = tokens_btc.shape
    return tokens_btc.view(b, t, HEADS, -1).transpose(1, 2)


def join_heads(tokens_bntd: Tensor) -> Tensor:
    """(b, n, t, d) -> (b, t, n·d)."""
    b, _, t, _ = tokens_bntd.shape
    return tokens_bntd.transpose(1, 2).reshape(b, t, -1)


def per_head(tokens_bntd: Tensor, weight_ndc: Tensor) -> Tensor:
    """Each head's tokens times its own matrix, the batch in one product per head: (b, n, t, c)."""
    b, n, t, d = tokens_bntd.shape
    product = tokens_bntd.transpose(0, 1).reshape(n, b * t, d) @ weight_ndc
    return product.view(n, b, t, -1).transpose(0, 1)


class TokenToImage(nn.Module):
    """Class tokens attend to the image: the `exact` form. Parameter names are SAM's.

    SAM's key bias is left out: it shifts all scores of a query alike, which the softmax does not see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(EMBEDDING, INNER)
        self.k_proj = nn.Linear(EMBEDDING, INNER, bias=False)
        self.v_proj = nn.Linear(EMBEDDING, INNER)
        self.out_proj = nn.Linear(INNER, EMBEDDING)

    def forward(self, queries_btc: Tensor, image_bsc: Tensor, position_sc: Tensor) -> Tensor:
        """(b, t, 256)."""
        q_bntd = split_heads(self.q_proj(queries_btc)) * HEAD**-0.5
        carried_bntc = per_head(q_bntd, self.k_proj.weight.view(HEADS, HEAD, EMBEDDING))
        context_bntc = attend(carried_bntc, image_bsc, position_sc)
        context_bntd = per_head(context_bntc, self.v_proj.weight.view(HEADS, HEAD, EMBEDDING).transpose(1, 2))
        out: Tensor = self.out_proj(join_heads(context_bntd) + self.v_proj.bias)
        return out


class LowRankTokenToImage(nn.Module):
    """Class tokens attend to the image through one latent of `rank` numbers per token, shared by keys and
    values.

    Source: BALR-SAM, low-rank tensor attention.
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(EMBEDDING, INNER)
        self.latent = Linear(EMBEDDING, rank, bias=False)
        self.key_core = nn.Parameter(torch.empty(INNER, rank))
        self.value_core = nn.Linear(rank, INNER)
        self.out_proj = nn.Linear(INNER, EMBEDDING)
        nn.init.xavier_uniform_(self.key_core)

    def forward(self, queries_btc: Tensor, image_bsc: Tensor, position_sc: Tensor) -> Tensor:
        """(b, t, 256)."""
        rank = self.key_core.shape[1]
        q_bntd = split_heads(self.q_proj(queries_btc)) * HEAD**-0.5
        carried_bntr = per_head(q_bntd, self.key_core.view(HEADS, HEAD, rank))
        context_bntr = attend(carried_bntr, self.latent(image_bsc), self.latent(position_sc))
        context_bntd = per_head(context_bntr, self.value_core.weight.view(HEADS, HEAD, rank).transpose(1, 2))
        out: Tensor = self.out_proj(join_heads(context_bntd) + self.value_core.bias)
        return out


class ImageToToken(nn.Module):
    """Image tokens attend to the class tokens; few keys, so q and out are carried to the tokens' side. Names
    are SAM's."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(EMBEDDING, INNER)
        self.k_proj = nn.Linear(EMBEDDING, INNER)
        self.v_proj = nn.Linear(EMBEDDING, INNER)
        self.out_proj = nn.Linear(INNER, EMBEDDING)

    def forward(self, image_bsc: Tensor, position_sc: Tensor, keys_btc: Tensor, values_btc: Tensor) -> Tensor:
        """What is to be added to the image tokens: (b, s, 256)."""
        k_bntd = split_heads(self.k_proj(keys_btc)) * HEAD**-0.5
        v_bntd = split_heads(self.v_proj(values_btc))
        b, _, t, _ = k_bntd.shape
        carried_bxc = per_head(k_bntd, self.q_proj.weight.view(HEADS, HEAD, EMBEDDING)).reshape(
            b, HEADS * t, EMBEDDING
        )
        shift_bx1 = per_head(k_bntd, self.q_proj.bias.view(HEADS, HEAD, 1)).reshape(b, HEADS * t, 1)
        scores_bxs = products_with(carried_bxc, image_bsc, position_sc) + shift_bx1
        weights_bxs = scores_bxs.view(b, HEADS, t, -1).softmax(dim=2).view(b, HEADS * t, -1)
        carried_out = per_head(v_bntd, self.out_proj.weight.view(EMBEDDING, HEADS, HEAD).permute(1, 2, 0))
        carried_out_bxc = carried_out.reshape(b, HEADS * t, EMBEDDING)
        out: Tensor = weights_bxs.transpose(1, 2) @ carried_out_bxc + self.out_proj.bias
        return out


def attend(carried_bntc: Tensor, keys_bsc: Tensor, position_sc: Tensor) -> Tensor:
    """softmax(carried · (keys + position)ᵀ) · keys, without keeping keys + position: (b, n, t, c)."""
    b, n, t, c = carried_bntc.shape
    scores_bxs = products_with(carried_bntc.reshape(b, n * t, c), keys_bsc, position_sc)
    return (scores_bxs.softmax(dim=-1) @ keys_bsc).view(b, n, t, c)


def products_with(few_bxc: Tensor, image_bsc: Tensor, position_sc: Tensor) -> Tensor:
    """few · (image + position)ᵀ: (b, x, s). For backward the image is kept, and the sum, which costs little,
    made again."""
    if torch.is_grad_enabled():
        products: Tensor = _Products.apply(few_bxc, image_bsc, position_sc)  # type: ignore[no-untyped-call]
        return products
    return few_bxc @ (image_bsc + position_sc).transpose(1, 2)


class _Products(torch.autograd.Function):
    """`products_with` and its derivative, which is computed in the type that the products have."""

    @staticmethod
    def forward(ctx: Any, few_bxc: Tensor, image_bsc: Tensor, position_sc: Tensor) -> Tensor:
        ctx.save_for_backward(few_bxc, image_bsc, position_sc)
        return few_bxc @ (image_bsc + position_sc).transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_bxs: Tensor) -> tuple[Tensor | None, ...]:
        few_bxc, image_bsc, position_sc = ctx.saved_tensors
        dtype = gradient_bxs.dtype
        of_few = of_image = of_position = None
        if ctx.needs_input_grad[0]:
            of_few = (gradient_bxs @ (image_bsc + position_sc).to(dtype)).to(few_bxc.dtype)
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            of_image = (gradient_bxs.transpose(1, 2) @ few_bxc.to(dtype)).to(image_bsc.dtype)
        if ctx.needs_input_grad[2] and of_image is not None:
            of_position = of_image.sum(0)
        return of_few, of_image, of_position
