"""Relative error of the decoder's shared latent against its rank, on a SAM checkpoint (on random weights
without one).

usage: python benchmarks/network/hosvd_error.py [--backbone vit_b] [--checkpoint sam_vit_b_01ec64.pth]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from balrsam_pipeline.network import find_checkpoint
from balrsam_pipeline.network.checkpoints import read_sam
from balrsam_pipeline.network.load_sam import ATTENTIONS
from balrsam_pipeline.network.stock_sam import stock_sam

RANKS = (8, 16, 32, 64, 96, 128, 192, 256)


def truncation_error(key_weight: Tensor, value_weight: Tensor, rank: int) -> float:
    """Relative Frobenius error of the two weights at a rank, 0 to 1."""
    values = torch.linalg.svdvals(torch.cat([key_weight, value_weight]).double())
    return float((values[rank:].square().sum() / values.square().sum()).sqrt())


def main() -> None:
    """Print the error of each attention at each rank."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--checkpoint", type=Path)
    arguments = parser.parse_args()
    path = arguments.checkpoint or find_checkpoint(arguments.backbone)
    sam = read_sam(path, arguments.backbone) if path else stock_sam(arguments.backbone).state_dict()
    errors = {
        attention: {
            str(rank): truncation_error(
                *(sam[f"mask_decoder.transformer.{attention}.{part}_proj.weight"] for part in "kv"), rank
            )
            for rank in RANKS
        }
        for attention in ATTENTIONS
    }
    print(json.dumps({"weights": path.name if path else "random", "relative_error": errors}, indent=2))


if __name__ == "__main__":
    main()
