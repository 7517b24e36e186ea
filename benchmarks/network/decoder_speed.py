"""Processor time of the mask decoder, stock against ours: forward alone, and forward with backward.

Taken in turn, so that a busy machine disturbs all alike; the least of each counts. One image, fp32; embedding
and image positions are given, as behind an encoder.

usage: python benchmarks/network/decoder_speed.py [--sizes 448 1024] [--classes 4 14] [--rounds 8]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from stock import machine
from torch import Tensor, nn

from balrsam_pipeline.allocator import keep_freed_memory
from balrsam_pipeline.network import preset
from balrsam_pipeline.network.decoder import MaskDecoder
from balrsam_pipeline.network.stock_sam import EMBEDDING, sam_modeling
from balrsam_pipeline.plan import DecoderAttention

FORMS: tuple[DecoderAttention, ...] = ("exact", "low_rank")
Call = Callable[[], Tensor]


def stock_decoder(side: int, classes: int) -> Call:
    """Stock's decoder on an embedding of a side in tokens, without a prompt."""
    modeling = sam_modeling()
    transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=EMBEDDING, mlp_dim=2048, num_heads=8)
    decoder = modeling.MaskDecoder(
        transformer_dim=EMBEDDING, transformer=transformer, num_multimask_outputs=classes - 1
    )
    image = torch.randn(1, EMBEDDING, side, side, requires_grad=True)
    position, sparse = torch.randn(1, EMBEDDING, side, side), torch.empty(1, 0, EMBEDDING)
    dense = nn.Parameter(torch.randn(1, EMBEDDING, 1, 1)).expand(1, -1, side, side)
    return lambda: decoder.predict_masks(image, position, sparse, dense)[0]


def our_decoder(side: int, classes: int, form: DecoderAttention) -> Call:
    """Ours, as where a checkpoint is adapted."""
    network = replace(preset("vit_b", classes), decoder_attention=form, input_size=(16 * side, 16 * side))
    decoder = MaskDecoder(network)
    decoder.position_frequencies.requires_grad_(False)
    image = torch.randn(1, EMBEDDING, side, side, requires_grad=True)
    return lambda: decoder(image, ())


def seconds(call: Call, *, backward: bool) -> float:
    """Processor time of one call."""
    started = time.process_time()
    with torch.set_grad_enabled(backward):
        masks = call()
    if backward:
        masks.backward(torch.ones_like(masks))
    return time.process_time() - started


def compare(calls: dict[str, Call], rounds: int, *, backward: bool) -> dict[str, float]:
    """Milliseconds of each and stock's multiple of ours, one round to warm up."""
    best = dict.fromkeys(calls, float("inf"))
    for turn in range(rounds + 1):
        for name, call in calls.items():
            spent = seconds(call, backward=backward)
            best[name] = min(best[name], spent) if turn else best[name]
    times = {f"{name} ms": round(1e3 * spent, 1) for name, spent in best.items()}
    ratios = {f"stock / {form}": round(best["stock"] / best[form], 2) for form in FORMS}
    return times | ratios


def main() -> None:
    """Print times and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[448, 1024])
    parser.add_argument("--classes", type=int, nargs="+", default=[4, 14])
    parser.add_argument("--rounds", type=int, default=8)
    arguments = parser.parse_args()
    keep_freed_memory()  # as every command does
    torch.manual_seed(0)
    result: dict[str, object] = {"machine": machine()}
    for size in arguments.sizes:
        for classes in arguments.classes:
            calls: dict[str, Call] = {form: our_decoder(size // 16, classes, form) for form in FORMS}
            calls["stock"] = stock_decoder(size // 16, classes)
            result[f"{size}, {classes} classes"] = {
                "forward": compare(calls, arguments.rounds, backward=False),
                "forward and backward": compare(calls, arguments.rounds, backward=True),
            }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
