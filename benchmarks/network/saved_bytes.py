"""Saved activation bytes, stock SAM against ours: decoder attention, whole decoder, whole network. Counted,
not timed.

"attention" is the two-way transformer: its attentions, the few tokens' MLPs, and norms. "recomputed" is what
we do from 1,024 image tokens on: attentions and upscaling keep their inputs alone. Of a stack of slices,
stock's class tokens attend to the tokens of all slices as if they were one image's; ours do so too, beside
each slice's own.

usage: python benchmarks/network/saved_bytes.py [--sizes 224 448 1024] [--classes 4 14] [--stack 16]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from stock import StockLora
from torch import Tensor, nn

import balrsam_pipeline.network.decoder as decoder
from balrsam_pipeline.network import count_cost, preset
from balrsam_pipeline.network.decoder import MaskDecoder
from balrsam_pipeline.network.profiling import count_saved_bytes
from balrsam_pipeline.network.stock_sam import EMBEDDING, sam_modeling
from balrsam_pipeline.plan import DecoderAttention

MIB = 2**20
FORMS: tuple[DecoderAttention, ...] = ("exact", "low_rank")


def saved_mib(module: nn.Module, run: Callable[[], object]) -> float:
    """MiB that `run` keeps for backward beside the module's parameters."""
    with count_saved_bytes(module) as saved:
        output = run()
    del output
    return saved.total / MIB


@contextmanager
def recomputing(*, on: bool) -> Iterator[None]:
    """Compute attentions and upscaling again in backward at every size, or at none."""
    before = decoder.RECOMPUTE_TOKENS
    decoder.RECOMPUTE_TOKENS = 0 if on else 2**31
    try:
        yield
    finally:
        decoder.RECOMPUTE_TOKENS = before


def stock_decoder(side: int, masks: int, stack: int = 1) -> dict[str, float]:
    """Stock's two-way transformer and whole decoder, for `side` tokens a side; slices lie below each
    other."""
    modeling = sam_modeling()
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=EMBEDDING, mlp_dim=2048, num_heads=8)
    stock = modeling.MaskDecoder(
        transformer_dim=EMBEDDING, transformer=transformer, num_multimask_outputs=masks - 1
    )
    size = (stack * side, side)
    image = torch.empty(1, EMBEDDING, *size, requires_grad=True)
    position, sparse = torch.empty(1, EMBEDDING, *size), torch.empty(1, 0, EMBEDDING)
    dense = nn.Parameter(torch.empty(1, EMBEDDING, 1, 1)).expand(1, -1, *size)
    tokens = torch.empty(1, masks + 1, EMBEDDING, requires_grad=True)
    return {
        "attention": saved_mib(transformer, lambda: transformer(image, position, tokens)),
        "decoder": saved_mib(stock, lambda: stock.predict_masks(image, position, sparse, dense)),
    }


def our_decoder(side: int, masks: int, form: DecoderAttention, stack: int = 0) -> dict[str, float]:
    """The same of ours, with and without recomputation."""
    network = replace(preset("vit_b", masks), decoder_attention=form, input_size=(16 * side, 16 * side))
    network, slices = replace(network, stack=stack), stack or 1
    ours = MaskDecoder(network)
    ours.position_frequencies.requires_grad_(False)  # as where a checkpoint is adapted
    image = torch.empty(slices, EMBEDDING, side, side, requires_grad=True)
    flat = torch.empty(slices, side * side, EMBEDDING, requires_grad=True)
    tokens: Tensor = torch.empty(1, masks + 1, EMBEDDING, requires_grad=True).expand(slices, -1, -1)
    found = {}
    for name, on in (("", False), (", recomputed", True)):
        with recomputing(on=on):
            attend = saved_mib(ours, lambda: ours.transformer(tokens, flat, ours.image_positions))
            found |= {f"attention{name}": attend, f"decoder{name}": saved_mib(ours, lambda: ours(image, ()))}
    return found


def compared(side: int, masks: int, stack: int = 0) -> dict[str, object]:
    """MiB of stock and of both our forms, and by which share ours are less; of an image, or of a stack."""
    stock = stock_decoder(side, masks, stack or 1)
    forms = {form: our_decoder(side, masks, form, stack) for form in FORMS}
    less = {
        form: {part: round(1 - mib / stock[part.split(",")[0]], 3) for part, mib in found.items()}
        for form, found in forms.items()
    }
    return {"stock MiB": stock, **{f"{form} MiB": found for form, found in forms.items()}, "less by": less}


def main() -> None:
    """Print everything in MiB of one image, fp32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448, 1024])
    parser.add_argument("--classes", type=int, nargs="+", default=[4, 14])
    parser.add_argument("--stack", type=int, default=16, help="slices of a stack, at 448 pixels")
    arguments = parser.parse_args()
    result: dict[str, object] = {}
    with torch.device("meta"):
        for size in arguments.sizes:
            for masks in arguments.classes:
                result[f"decoder at {size}, {masks} masks"] = compared(size // 16, masks)
        for masks in arguments.classes:
            name = f"decoder over a stack of {arguments.stack} at 448, {masks} masks"
            result[name] = compared(448 // 16, masks, arguments.stack)
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
