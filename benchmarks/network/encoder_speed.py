"""Encoder forward and forward + backward, stock segment_anything against ours, in turn in one process.

usage: python benchmarks/network/encoder_speed.py [--backbone vit_b] [--sizes 224 448 1024] [--threads 2]
[--rounds 3]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import torch
from stock import StockLora, machine, paired_ms

from balrsam_pipeline.network import preset
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.network.encoder import ImageEncoder
from balrsam_pipeline.network.model import BalrSam
from balrsam_pipeline.plan import Backbone


def compare(backbone: Backbone, stock_size: int, our_size: int, rounds: int) -> dict[str, float]:
    """Milliseconds of one image: forward with LoRA merged, and forward + backward to LoRA (and ours' adapters
    too)."""
    stock = StockLora(backbone, stock_size).sam.image_encoder
    network = replace(
        preset(backbone), from_scratch=False, lora_rank=4, adapter_rank=32, input_size=(our_size, our_size)
    )
    model = BalrSam(network)
    freeze(model)
    ours: ImageEncoder = model.image_encoder
    stock_image, our_image = torch.randn(1, 3, stock_size, stock_size), torch.randn(1, 3, our_size, our_size)
    backward = paired_ms(
        lambda: stock(stock_image).sum().backward(), lambda: ours(our_image)[0].sum().backward(), rounds
    )
    for block in stock.blocks:
        block.attn.qkv = block.attn.qkv.linear
    ours.merge_lora()
    for block in ours.blocks:
        block.attention_adapter = block.mlp_adapter = None  # stock has none: the same function is timed
    with torch.no_grad():
        forward = paired_ms(lambda: stock(stock_image), lambda: ours(our_image), rounds)
    return {
        "stock_size": stock_size,
        "our_size": our_size,
        "stock_forward_ms": forward[0],
        "our_forward_ms": forward[1],
        "forward_speedup": forward[0] / forward[1],
        "stock_training_ms": backward[0],
        "our_training_ms": backward[1],
        "training_speedup": backward[0] / backward[1],
    }


def main() -> None:
    """Print each size against itself, and 448 against stock's 512."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 448, 1024])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pairs = [(size, size) for size in arguments.sizes] + ([(512, 448)] if 448 in arguments.sizes else [])
    rows = [compare(arguments.backbone, stock, ours, arguments.rounds) for stock, ours in pairs]
    print(json.dumps({"machine": machine(), "backbone": arguments.backbone, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
