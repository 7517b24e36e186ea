"""Gradients of one batch: at once, or piece by piece where it does not fit the device's memory.

Losses are functions of sums over the batch, so pieces need two passes: one without gradients adds up the sums
of all pieces, the other takes each piece's share of the gradient at those sums. The result is the undivided
batch's.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from trainers.losses import LossSums, SegmentationLoss
from trainers.optimisation import Precision


def accumulate(
    forward: nn.Module,
    loss: SegmentationLoss,
    precision: Precision,
    inputs: tuple[Tensor, ...],
    label_bhw: Tensor,
    pieces: int = 1,
) -> Tensor:
    """Add the gradients of a batch to the parameters; returns the loss of the whole batch, detached.

    Args:
        forward: image (b, c, h, w) and kept features, if any -> (logits, boundary logits or None, logits
            at coarser strides, if any).
        inputs: of `forward`, the whole batch each.
        pieces: how many parts the batch is worked through in; 1 works on it at once.
    """
    if pieces == 1:
        with precision.autocast():
            logits_bkhw, boundary_b1hw, *coarser = forward(*inputs)
        value = loss(logits_bkhw, boundary_b1hw, label_bhw, coarser).total
        _backward(precision, value)
        return value.detach()
    labels = label_bhw.chunk(pieces)
    divided = list(zip(*(each.chunk(pieces) for each in inputs), strict=True))
    total: Tensor | None = None
    with torch.no_grad():
        for piece, label in zip(divided, labels, strict=True):
            sums = _sums(forward, loss, precision, piece, label).vector
            total = sums if total is None else total + sums
    if total is None:
        raise ValueError("a batch without samples")
    for piece, label in zip(divided, labels, strict=True):
        own = _sums(forward, loss, precision, piece, label)
        whole = total + own.vector - own.vector.detach()
        value = loss.of_sums(replace(own, vector=whole)).total
        _backward(precision, value)
    return value.detach()


def _sums(
    forward: nn.Module,
    loss: SegmentationLoss,
    precision: Precision,
    inputs: tuple[Tensor, ...],
    label: Tensor,
) -> LossSums:
    with precision.autocast():
        logits_bkhw, boundary_b1hw, *coarser = forward(*inputs)
    return loss.sums(logits_bkhw, boundary_b1hw, label, coarser)


def _backward(precision: Precision, value: Tensor) -> None:
    precision.scaler.scale(value).backward()  # type: ignore[no-untyped-call]
