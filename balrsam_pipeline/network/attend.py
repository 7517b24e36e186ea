"""What attention between few class tokens and many image tokens computes, keeping nothing of the image's size
for backward but the image itself.

The few are already carried to the image's side (`tensor_attention.py`), so scores are their products with
image tokens at their places. Sums with positions and scores are made again in backward, as FlashAttention
does with scores; derivatives are computed in the type of what was passed on (16 bits under autocast).

Suffixes: b batch, x few vectors of all heads, s image tokens, c channels, r channels that are attended to (c,
or a latent's few).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from balrsam_pipeline.network.layers import project


def attend(
    few_bxr: Tensor, image_bsc: Tensor, position_sc: Tensor, latent_rc: Tensor | None = None
) -> Tensor:
    """softmax(few · (values + places)ᵀ) · values: (b, x, r).

    Args:
        few_bxr: queries, scaled.
        image_bsc: the image tokens; they are the values themselves, or through the latent.
        position_sc: what is added to the tokens before they are compared with queries; where the tokens are
            those of several slices, one after the other, the positions of one, which repeat.
        latent_rc: projects tokens and positions to r numbers; None leaves them as they are.
    """
    if torch.is_grad_enabled():
        context: Tensor = _Attend.apply(few_bxr, image_bsc, position_sc, latent_rc)  # type: ignore[no-untyped-call]
        return context
    keys, values = _keys_and_values(image_bsc, position_sc, latent_rc)
    return _context(few_bxr, keys, values)


@dataclass(frozen=True, slots=True)
class FewTokens:
    """The class tokens of every head on the image's side, x = heads · tokens: what image tokens are compared
    with, what is added to that comparison, and what they read."""

    keys_bxc: Tensor
    shift_bx1: Tensor
    values_bxc: Tensor
    heads: int

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, shift and values."""
        return self.keys_bxc, self.shift_bx1, self.values_bxc


def read_few(
    image_bsc: Tensor,
    position_sc: Tensor,
    carry: Callable[..., FewTokens],
    carried: tuple[Tensor, ...],
    norm: nn.LayerNorm,
) -> Tensor:
    """norm(image + softmax((image + position) · keysᵀ + shift) · values), the softmax over the tokens of a
    head: (b, s, c).

    Args:
        carry: makes keys, shift and values from `carried`, again in backward: with many class tokens they
            are as large as a fifth of the image each.
        carried: the class tokens and the weights that bring them to the image's side.
    """
    if torch.is_grad_enabled():
        updated: Tensor = _ReadFew.apply(  # type: ignore[no-untyped-call]
            carry, norm.eps, image_bsc, position_sc, norm.weight, norm.bias, *carried
        )
        return updated
    summed = _read(image_bsc, position_sc, carry(*carried)).summed_bsc
    return functional.layer_norm(summed, norm.weight.shape, norm.weight, norm.bias, norm.eps)


class _Attend(torch.autograd.Function):
    """`attend` and its derivative; keeps its inputs and its result, which is small."""

    @staticmethod
    def forward(
        ctx: Any, few_bxr: Tensor, image_bsc: Tensor, position_sc: Tensor, latent_rc: Tensor | None
    ) -> Tensor:
        keys, values = _keys_and_values(image_bsc, position_sc, latent_rc)
        context = _context(few_bxr, keys, values)
        ctx.save_for_backward(few_bxr, image_bsc, position_sc, latent_rc, context)
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_bxr: Tensor) -> tuple[Tensor | None, ...]:
        few, image, position, latent, context = ctx.saved_tensors
        dtype = gradient_bxr.dtype
        keys, values = _keys_and_values(image, position, latent, dtype)
        few_d = few.to(dtype)
        scores = few_d @ keys.transpose(1, 2)
        shares = scores.softmax(dim=-1, dtype=_at_least_single(dtype)).to(dtype)
        expected = (gradient_bxr * context).sum(dim=-1, keepdim=True)
        of_scores = (gradient_bxr @ values.transpose(1, 2)).sub_(expected).mul_(shares)
        of_few = (of_scores @ keys).to(few.dtype)
        of_keys = of_scores.transpose(1, 2) @ few_d
        placed = latent is not None or ctx.needs_input_grad[2]
        of_places = of_keys.reshape(-1, *position.shape[:1], of_keys.shape[2]).sum(0) if placed else None
        of_values = torch.baddbmm(of_keys, shares.transpose(1, 2), gradient_bxr)
        of_image, of_position, of_latent = of_values, of_places, None
        if latent is not None and of_places is not None:
            of_latent = of_values.flatten(0, 1).t() @ image.flatten(0, 1).to(dtype)
            of_latent = (of_latent + of_places.t() @ position.to(dtype)).to(latent.dtype)
            of_image, of_position = of_values @ latent.to(dtype), of_places @ latent.to(dtype)
        if of_position is not None:
            of_position = of_position.to(position.dtype) if ctx.needs_input_grad[2] else None
        return of_few, of_image.to(image.dtype), of_position, of_latent


class _ReadFew(torch.autograd.Function):
    """`read_few` and its derivative; keeps its inputs."""

    @staticmethod
    def forward(ctx: Any, carry: Callable[..., FewTokens], eps: float, *inputs: Tensor) -> Tensor:
        image, position, weight, bias, *carried = inputs
        few = carry(*carried)
        read = _read(image, position, few)
        ctx.carry, ctx.eps, ctx.dtype, ctx.few_dtype = carry, eps, read.dtype, few.keys_bxc.dtype
        ctx.save_for_backward(*inputs)
        return functional.layer_norm(read.summed_bsc, weight.shape, weight, bias, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_bsc: Tensor) -> tuple[Tensor | None, ...]:
        image, position, weight, bias, *kept = ctx.saved_tensors
        carried = [each.detach().to(ctx.few_dtype).requires_grad_() for each in kept]
        with torch.enable_grad():
            few = ctx.carry(*carried)
        dtype = ctx.dtype
        keys, _, values = few.tensors
        read = _read(image, position, few, dtype)
        shares = read.shares_bxs
        of_summed, of_weight, of_norm_bias = _layer_norm_backward(
            gradient_bsc, read.summed_bsc, weight, bias, ctx.eps
        )
        of_read = of_summed.to(dtype)
        of_values = shares.to(dtype) @ of_read
        of_shares = (values.to(dtype) @ of_read.transpose(1, 2)).to(shares.dtype)
        b, x, s = shares.shape
        per_head = (b, few.heads, x // few.heads, s)
        of_scores = torch.ops.aten._softmax_backward_data(
            of_shares.view(per_head), shares.view(per_head), 2, shares.dtype
        )
        of_scores = of_scores.view(b, x, s).to(dtype)
        of_keys = of_scores @ (image + position).to(dtype)
        of_placed = (of_scores.transpose(1, 2) @ keys.to(dtype)).to(image.dtype)
        of_position = of_placed.sum(0) if ctx.needs_input_grad[3] else None
        of_few = (of_keys, of_scores.sum(dim=-1, keepdim=True), of_values)
        given = [of.to(each.dtype) for of, each in zip(of_few, few.tensors, strict=True)]
        of_carried = torch.autograd.grad(few.tensors, carried, given)
        of_kept = [of.to(each.dtype) for of, each in zip(of_carried, kept, strict=True)]
        return (None, None, of_placed.add_(of_summed), of_position, of_weight, of_norm_bias, *of_kept)


@dataclass(frozen=True, slots=True)
class _Read:
    """How much each image token takes of each of the few, the image with what it read, and the type of the
    products."""

    shares_bxs: Tensor
    summed_bsc: Tensor
    dtype: torch.dtype


def _read(image_bsc: Tensor, position_sc: Tensor, few: FewTokens, dtype: torch.dtype | None = None) -> _Read:
    """What `read_few` computes before its norm; products in a given type, or as autocast has them."""
    (keys_bxc, shift_bx1, values_bxc), heads = few.tensors, few.heads
    placed_bsc = image_bsc + position_sc
    if dtype is not None:
        keys_bxc, placed_bsc, values_bxc = (each.to(dtype) for each in (keys_bxc, placed_bsc, values_bxc))
    scores_bxs = torch.baddbmm(shift_bx1.to(keys_bxc.dtype), keys_bxc, placed_bsc.transpose(1, 2))
    b, x, s = scores_bxs.shape
    scores_bhts = scores_bxs.view(b, heads, x // heads, s)
    shares_bxs = scores_bhts.softmax(dim=2, dtype=_at_least_single(scores_bxs.dtype)).view(b, x, s)
    taken_bsx = (shares_bxs if dtype is None else shares_bxs.to(dtype)).transpose(1, 2)
    read_bsc = taken_bsx @ values_bxc
    same = read_bsc.dtype == image_bsc.dtype
    summed_bsc = read_bsc.add_(image_bsc) if same else image_bsc + read_bsc
    return _Read(shares_bxs, summed_bsc, scores_bxs.dtype)


def _layer_norm_backward(
    gradient: Tensor, summed: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of a layer norm over channels: of its input, its weight and its bias."""
    shape, summed = list(weight.shape), summed.to(weight.dtype)
    _, mean, spread = torch.native_layer_norm(summed, shape, weight, bias, eps)
    of_summed, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(
        gradient.to(summed.dtype), summed, shape, mean, spread, weight, bias, [True, True, True]
    )
    return of_summed, of_weight, of_bias


def _context(few_bxr: Tensor, keys_bsr: Tensor, values_bsr: Tensor) -> Tensor:
    return (few_bxr @ keys_bsr.transpose(1, 2)).softmax(dim=-1) @ values_bsr


def _keys_and_values(
    image_bsc: Tensor, position_sc: Tensor, latent_rc: Tensor | None, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """In a given type, or as autocast has them: then image and positions may differ in theirs."""
    if latent_rc is None:
        keys, values = _placed(image_bsc, position_sc), image_bsc
        return (keys, values) if dtype is None else (keys.to(dtype), values.to(dtype))
    if dtype is not None:
        image_bsc, position_sc, latent_rc = (each.to(dtype) for each in (image_bsc, position_sc, latent_rc))
    values = project(image_bsc, latent_rc, None)
    return _placed(values, project(position_sc, latent_rc, None)), values


def _placed(tokens_bsr: Tensor, position_sr: Tensor) -> Tensor:
    """Tokens with their positions added, those of a slice to every slice."""
    if tokens_bsr.shape[1] == position_sr.shape[0]:
        return tokens_bsr + position_sr
    slices = tokens_bsr.view(tokens_bsr.shape[0], -1, *position_sr.shape)
    return (slices + position_sr).flatten(1, 2)


def _at_least_single(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
