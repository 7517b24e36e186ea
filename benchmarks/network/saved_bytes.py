"""Saved activation bytes, stock SAM against ours: decoder attention, whole decoder, whole network. Counted,
not timed.

usage: python benchmarks/network/saved_bytes.py > saved_bytes.json
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import torch
from stock import StockLora
from torch import Tensor, nn

from balrsam_pipeline.network import count_cost, preset
from balrsam_pipeline.network.backbone import EMBEDDING, sam_modeling
from balrsam_pipeline.network.decoder import MaskDecoder
from balrsam_pipeline.network.profiling import count_saved_bytes
from balrsam_pipeline.plan import DecoderAttention

MIB = 2**20
SIDE = 64  # tokens a side at 1024


def saved_mib(module: nn.Module, run: Callable[[], object]) -> float:
    """MiB that `run` keeps for backward beside the module's parameters."""
    with count_saved_bytes(module) as saved:
        output = run()
    del output
    return saved.total / MIB


def stock_decoder(masks: int) -> dict[str, float]:
    """Stock's two-way transformer and whole decoder for 1024 pixels."""
    modeling = sam_modeling()
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=EMBEDDING, mlp_dim=2048, num_heads=8)
    decoder = modeling.MaskDecoder(
        transformer_dim=EMBEDDING, transformer=transformer, num_multimask_outputs=masks - 1
    )
    image = torch.empty(1, EMBEDDING, SIDE, SIDE, requires_grad=True)
    position, sparse = torch.empty(1, EMBEDDING, SIDE, SIDE), torch.empty(1, 0, EMBEDDING)
    dense = nn.Parameter(torch.empty(1, EMBEDDING, 1, 1)).expand(1, -1, SIDE, SIDE)
    tokens = torch.empty(1, masks + 1, EMBEDDING, requires_grad=True)
    return {
        "attention": saved_mib(transformer, lambda: transformer(image, position, tokens)),
        "decoder": saved_mib(decoder, lambda: decoder.predict_masks(image, position, sparse, dense)),
    }


def our_decoder(masks: int, form: DecoderAttention) -> dict[str, float]:
    """The same of ours."""
    decoder = MaskDecoder(replace(preset("vit_b"), classes=masks, decoder_attention=form))
    decoder.position_frequencies.requires_grad_(False)  # as where a checkpoint is adapted
    image = torch.empty(1, EMBEDDING, SIDE, SIDE, requires_grad=True)
    flat = torch.empty(1, SIDE * SIDE, EMBEDDING, requires_grad=True)
    tokens: Tensor = torch.empty(1, masks + 1, EMBEDDING, requires_grad=True)
    return {
        "attention": saved_mib(decoder, lambda: decoder.transformer(tokens, flat, decoder.image_positions)),
        "decoder": saved_mib(decoder, lambda: decoder(image, ())),
    }


def main() -> None:
    """Print everything in MiB of one 1024×1024 image, fp32."""
    result: dict[str, object] = {}
    with torch.device("meta"):
        for masks in (4, 9):
            stock = stock_decoder(masks)
            forms: tuple[DecoderAttention, ...] = ("low_rank", "exact")
            result[f"decoder, {masks} masks"] = {
                "stock": stock,
                **{form: our_decoder(masks, form) for form in forms},
            }
        plain = StockLora("vit_b")
        stock_all = saved_mib(plain, lambda: plain(torch.empty(1, 3, 1024, 1024)))
    network = preset("vit_b")
    ours = {
        f"{blocks} blocks checkpointed": count_cost(
            replace(network, checkpointed_blocks=blocks), (1024, 1024)
        ).saved_bytes
        / MIB
        for blocks in (0, 4, 12)
    }
    result["network, vit_b"] = {
        "stock SAM + LoRA": stock_all,
        **ours,
        "share": {name: mib / stock_all for name, mib in ours.items()},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
