"""TinyViT's weights in MobileSAM's and LiteMedSAM's files: their keys and shapes, and how they become ours.

Only names and layout change, not the function: a convolution and its BatchNorm, which is always used with its
running statistics, become one convolution; rows of `qkv`, head by head q, k, v in the files, become all q,
all k, all v.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from balrsam_pipeline.network.presets import preset
from balrsam_pipeline.network.tiny_vit import TinyVit
from balrsam_pipeline.network.tiny_vit_layers import Convolution, WindowAttention

CHANNELS = 3
NORM_EPS = 1e-5  # of the files' BatchNorm
NORM_VECTORS = ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
NORM_COUNT = "bn.num_batches_tracked"
# MobileSAM keeps the classifier that TinyViT was first trained with; no SAM uses it
CLASSIFIER = {
    f"image_encoder.{name}" for name in ("norm_head.weight", "norm_head.bias", "head.weight", "head.bias")
}


@cache
def tiny_vit_shapes(embedding_stride: Literal[4, 16]) -> dict[str, tuple[int, ...]]:
    """Every key of the encoder in a file, with its shape; allocates nothing."""
    shapes: dict[str, tuple[int, ...]] = {}
    encoder = _on_meta(embedding_stride)
    inside = set()
    for name, module in encoder.named_modules():
        if isinstance(module, Convolution):
            inside |= {f"{name}.c.weight", f"{name}.c.bias"}
            shapes[f"{name}.c.weight"] = tuple(module.c.weight.shape)
            shapes |= {f"{name}.{vector}": (module.c.out_channels,) for vector in NORM_VECTORS}
            shapes[f"{name}.{NORM_COUNT}"] = ()
    shapes |= {name: tuple(p.shape) for name, p in encoder.named_parameters() if name not in inside}
    return {f"image_encoder.{name}": shape for name, shape in shapes.items()}


def tiny_vit_weights(sam: Mapping[str, Tensor], embedding_stride: Literal[4, 16]) -> dict[str, Tensor]:
    """The encoder's tensors of a complete file under the names and in the layout of `TinyVit`.

    Args:
        sam: tensors of all `tiny_vit_shapes`; others are left aside.
    """
    weights = {name: sam[name] for name in tiny_vit_shapes(embedding_stride)}
    for short, module in _on_meta(embedding_stride).named_modules():
        name = f"image_encoder.{short}"
        if isinstance(module, Convolution):
            norm = [weights.pop(f"{name}.{vector}") for vector in NORM_VECTORS]
            del weights[f"{name}.{NORM_COUNT}"]
            weights[f"{name}.c.weight"], weights[f"{name}.c.bias"] = folded(
                weights[f"{name}.c.weight"], *norm
            )
        elif isinstance(module, WindowAttention):
            for part in ("weight", "bias"):
                rows = weights[f"{name}.qkv.{part}"]
                by_head = rows.reshape(module.heads, 3, -1, *rows.shape[1:])
                weights[f"{name}.qkv.{part}"] = by_head.transpose(0, 1).reshape(rows.shape)
    return weights


def folded(
    weight: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the one convolution that a convolution and its BatchNorm are; in float64."""
    factor = scale.double() / (variance.double() + NORM_EPS).sqrt()
    new_weight = weight.double() * factor[:, None, None, None]
    return new_weight.float(), (shift.double() - mean.double() * factor).float()


def _on_meta(embedding_stride: Literal[4, 16]) -> nn.Module:
    network = replace(preset("vit_t"), embedding_stride=embedding_stride, adapted_stages=0)
    with torch.device("meta"):
        return TinyVit(network, CHANNELS)
