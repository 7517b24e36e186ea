"""Second moments of what the decoder's attentions read, measured on images: they weight the low-rank
truncation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from balrsam_pipeline.network.checkpoints import read_sam
from balrsam_pipeline.network.load_sam import ATTENTIONS, load_low_rank_start
from balrsam_pipeline.network.model import BalrSam
from balrsam_pipeline.network.stock_sam import EMBEDDING


def measure_second_moments(model: BalrSam, images: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """Mean of x·xᵀ over image tokens, for each token-to-image attention, keys (with position) and values
    together.

    Args:
        model: a network with SAM's weights; `exact` decoder attention reads what SAM itself would.
        images: batches (b, c, y, x), normalised as in training.

    Returns:
        three (256, 256) matrices, for `build(..., second_moments=...)`.
    """
    sums = [torch.zeros(EMBEDDING, EMBEDDING) for _ in ATTENTIONS]
    counts = [0] * len(ATTENTIONS)

    def reader(index: int) -> object:
        def read(_: nn.Module, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
            image_bsc, position_sc = inputs[1:]
            for tokens in (image_bsc, image_bsc + position_sc):
                flat = tokens.reshape(-1, EMBEDDING).float()
                sums[index] += (flat.T @ flat).cpu()
                counts[index] += flat.shape[0]

        return read

    transformer = model.mask_decoder.transformer
    handles = [
        transformer.get_submodule(name).register_forward_pre_hook(reader(index))  # type: ignore[arg-type]
        for index, name in enumerate(ATTENTIONS)
    ]
    was_training = model.training
    try:
        with torch.no_grad():
            model.train(False)
            for image in images:
                model(image)
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return tuple(total / max(count, 1) for total, count in zip(sums, counts, strict=True))


def start_on_images(model: BalrSam, base: Path, images: Iterable[Tensor]) -> None:
    """Truncate the decoder's low-rank attentions where it costs least on images of the data to be trained on.

    Args:
        model: a network with `low_rank` decoder attention, as `build` gives it; it measures for itself.
        base: the SAM checkpoint that it adapts.
        images: batches (b, c, y, x) on the model's device, normalised as in training.
    """
    network, moments = model.network, measure_second_moments(model, images)
    sam = read_sam(base, network.backbone, network.embedding_stride)
    load_low_rank_start(model, sam, moments)
