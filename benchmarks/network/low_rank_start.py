"""How far low-rank decoder attention starts from SAM's own masks, with LiteMedSAM's weights.

Relative norm of the difference of the four no-prompt masks from those of `exact`, mean over pictures; by the
weights alone, and by second moments measured on other pictures of the dataset.

usage: python benchmarks/network/low_rank_start.py DATASET_FOLDER [--measured 6] [--tried 4]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.network import build, find_checkpoint, measure_second_moments, preset

RANKS = (16, 32, 64, 96, 128)


def pictures(folder: Path, count: int, size: tuple[int, int]) -> list[Tensor]:
    """The first pictures of a dataset, shrunk whole, 0 to 1: (1, 3, y, x) each."""
    paths = sorted((folder / "imagesTr").glob("*.png"))[:count]
    images = (Image.open(path).convert("RGB").resize(size[::-1]) for path in paths)
    return [torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255 for image in images]


def main() -> None:
    """Print the errors by rank."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--measured", type=int, default=6)
    parser.add_argument("--tried", type=int, default=4)
    arguments = parser.parse_args()
    network, base = preset("vit_t"), find_checkpoint("vit_t")
    if base is None:
        raise UsageError(
            "LiteMedSAM",
            found="no checkpoint",
            expected="its file",
            fix="balrsam download_checkpoint lite_medsam",
        )
    images = pictures(arguments.dataset, arguments.measured + arguments.tried, network.input_size)
    measured, tried = images[: arguments.measured], images[arguments.measured :]
    exact = build(replace(network, decoder_attention="exact"), base).eval()
    moments = measure_second_moments(exact, measured)
    with torch.no_grad():
        features = [exact.prefix(image) for image in tried]
        expected = [exact(image, kept) for image, kept in zip(tried, features, strict=True)]

    def error(rank: int, second_moments: Sequence[Tensor] | None) -> float:
        plan = replace(network, decoder_attention="low_rank", decoder_rank=rank)
        model = build(plan, base, second_moments).eval()
        with torch.no_grad():
            found = [model(image, kept) for image, kept in zip(tried, features, strict=True)]
        return float(np.mean([(a - b).norm() / b.norm() for a, b in zip(found, expected, strict=True)]))

    errors = {rank: {"weights": error(rank, None), "data": error(rank, moments)} for rank in RANKS}
    print(json.dumps({"dataset": arguments.dataset.name, "relative_error": errors}, indent=2))


if __name__ == "__main__":
    main()
