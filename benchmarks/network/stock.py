"""The plain recipe to compare with: stock segment_anything with LoRA on q and v, its attention as it is."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from balrsam_pipeline.network.adapters import Lora
from balrsam_pipeline.network.stock_sam import stock_sam
from balrsam_pipeline.plan import Backbone


class _WithLora(nn.Module):
    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear, self.lora = linear, Lora(linear.in_features, rank, rank)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.lora(tokens, self.linear(tokens))


class StockLora(nn.Module):
    """Stock SAM, encoder frozen but for LoRA, decoder trained, no prompt: (1, 3, s, s) images to four
    masks."""

    def __init__(self, backbone: Backbone, image_size: int = 1024, rank: int = 4) -> None:
        super().__init__()
        self.sam = stock_sam(backbone, image_size)
        self.sam.requires_grad_(False)
        self.sam.mask_decoder.requires_grad_(True)
        self.sam.prompt_encoder.no_mask_embed.requires_grad_(True)
        for block in self.sam.image_encoder.blocks:
            block.attn.qkv = _WithLora(block.attn.qkv, rank)

    def forward(self, image: Tensor) -> Tensor:
        embeddings = self.sam.image_encoder(image)
        rows, columns = embeddings.shape[-2:]
        dense = self.sam.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, rows, columns)
        position = torch.zeros(1, embeddings.shape[1], rows, columns, device=image.device)
        sparse = torch.empty(1, 0, embeddings.shape[1], device=image.device)
        masks = [
            self.sam.mask_decoder.predict_masks(
                image_embeddings=embedding[None],
                image_pe=position,
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
            )[0]
            for embedding in embeddings  # stock's decoder takes one image at a time
        ]
        return torch.cat(masks)


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    cpu = platform.processor() or platform.machine()
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
    }


def paired_ms(stock: Callable[[], object], ours: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Least milliseconds of each, taken in turn, so that a busy machine disturbs both alike; one round warms
    up."""
    best = [float("inf")] * 2
    for turn in range(rounds + 1):
        for index, call in enumerate((stock, ours)):
            started = time.perf_counter()
            call()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn:
                best[index] = min(best[index], 1e3 * (time.perf_counter() - started))
    return best[0], best[1]
