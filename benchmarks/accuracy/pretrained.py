"""A SAM checkpoint of vit_mini: the encoder of a network that was trained from scratch on pictures of three
channels, in SAM's form.

For the ablation of what adapts a frozen encoder, where no published SAM is at hand. Decoder and prompt
encoder keep random weights.

    python benchmarks/accuracy/pretrained.py
    results/Dataset020_DRIVE/2d__balrsam/fold_0/checkpoint_final.safetensors vit_mini.pth
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.network.load_sam import resize_position_embedding, resize_relative_table
from balrsam_pipeline.network.stock_sam import SAM_GRID, stock_sam
from balrsam_pipeline.plan import Backbone
from trainers.checkpoints import read_checkpoint

BACKBONE: Backbone = "vit_mini"
AVERAGE = "ema/"


def in_sams_form(encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a SAM of 1024 pixels whose encoder is `encoder`: position tables stretched, those of
    windows padded with zeros."""
    torch.manual_seed(0)
    sam = stock_sam(BACKBONE).state_dict()
    for name, tensor in encoder.items():
        wanted = sam[name].shape
        if name.endswith("pos_embed"):
            tensor = resize_position_embedding(tensor, (wanted[1], wanted[2]))
        elif "rel_pos_" in name:
            tensor = _table(tensor, wanted[0], windowed=wanted[0] < 2 * SAM_GRID - 1)
        if tensor.shape != wanted:
            raise SystemExit(
                f"{name}: {tuple(tensor.shape)} cannot stand for {tuple(wanted)}; train it on pictures of "
                "three channels"
            )
        sam[name] = tensor
    return sam


def _table(table: Tensor, length: int, windowed: bool) -> Tensor:
    if not windowed:
        return resize_relative_table(table, (length + 1) // 2, windowed=False)
    missing = (length - table.shape[0]) // 2
    return functional.pad(table, (0, 0, missing, missing))


def main() -> None:
    """Parse, convert, save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trained", type=Path, help="checkpoint_final.safetensors of a fold")
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    tensors = read_checkpoint(arguments.trained).tensors
    names = {
        name: name.removeprefix(AVERAGE) for name in tensors if name.startswith(AVERAGE + "image_encoder.")
    }
    torch.save(in_sams_form({short: tensors[name] for name, short in names.items()}), arguments.target)


if __name__ == "__main__":
    main()
