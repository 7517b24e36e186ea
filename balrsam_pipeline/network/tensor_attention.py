"""The mask decoder's two attentions between class tokens and image tokens, in forms that keep few
activations.

Stock SAM projects all N image tokens to keys, values or queries and keeps those for backward. Here the few
class tokens are carried to the image's side instead, by re-association:

    scores  = (q·Wkᵀ)·Xᵀ        context = (softmax·X)·Wv

which is the same function (`exact`) with nothing of size N kept but X itself (`attend.py`). `low_rank` also
replaces Wk and Wv, a third-order tensor 256 × heads × d each, by one shared latent z = X·U of R numbers a
token and two small cores.

Suffixes: b batch, n heads, t class tokens, s image tokens, c channels (256), d channels per head, r latent
rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from balrsam_pipeline.network.attend import FewTokens, attend, read_few
from balrsam_pipeline.network.stock_sam import EMBEDDING

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
        context_bntc = attend(carried_bntc.flatten(1, 2), image_bsc, position_sc).view(carried_bntc.shape)
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
        self.latent = nn.Linear(EMBEDDING, rank, bias=False)
        self.key_core = nn.Parameter(torch.empty(INNER, rank))
        self.value_core = nn.Linear(rank, INNER)
        self.out_proj = nn.Linear(INNER, EMBEDDING)
        nn.init.xavier_uniform_(self.key_core)

    def forward(self, queries_btc: Tensor, image_bsc: Tensor, position_sc: Tensor) -> Tensor:
        """(b, t, 256)."""
        rank = self.key_core.shape[1]
        q_bntd = split_heads(self.q_proj(queries_btc)) * HEAD**-0.5
        carried_bntr = per_head(q_bntd, self.key_core.view(HEADS, HEAD, rank))
        context_bxr = attend(carried_bntr.flatten(1, 2), image_bsc, position_sc, self.latent.weight)
        context_bntr = context_bxr.view(carried_bntr.shape)
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

    def forward(
        self, image_bsc: Tensor, position_sc: Tensor, keys_btc: Tensor, values_btc: Tensor, norm: nn.LayerNorm
    ) -> Tensor:
        """norm(image + what the image tokens read from the class tokens): (b, s, 256)."""
        k_bntd = split_heads(self.k_proj(keys_btc)) * HEAD**-0.5
        v_bntd = split_heads(self.v_proj(values_btc))
        query, out = self.q_proj, self.out_proj
        carried = (k_bntd, v_bntd, query.weight, query.bias, out.weight, out.bias)
        return read_few(image_bsc, position_sc, _to_the_image, carried, norm)


def _to_the_image(
    k_bntd: Tensor, v_bntd: Tensor, query: Tensor, query_bias: Tensor, out: Tensor, out_bias: Tensor
) -> FewTokens:
    """Keys and values of the class tokens, with the image's projections to queries and from heads applied
    to them instead."""
    keys_bntc = per_head(k_bntd, query.view(HEADS, HEAD, EMBEDDING))
    shift_bnt1 = per_head(k_bntd, query_bias.view(HEADS, HEAD, 1))
    values_bntc = per_head(v_bntd, out.view(EMBEDDING, HEADS, HEAD).permute(1, 2, 0))
    # an image token takes 1 in all of each head, so that every head may bring its part of the bias
    values_bxc = values_bntc.flatten(1, 2) + out_bias / HEADS
    return FewTokens(keys_bntc.flatten(1, 2), shift_bnt1.flatten(1, 2), values_bxc, HEADS)
