"""nn.Linear (MKL) against the same product as a 1×1 convolution (oneDNN) on this CPU: why
`network.layers.project` exists.

usage: python benchmarks/network/linear_layers.py [--threads 1]
"""

from __future__ import annotations

import argparse
import json

import torch
from stock import machine, paired_ms
from torch.nn import functional

from balrsam_pipeline.network.layers import project

SHAPES = (
    (32 * 35, 192, 768),
    (32 * 35, 768, 192),
    (8 * 196, 192, 768),
    (4096, 768, 3072),
)  # tokens, before, after


def main() -> None:
    """Print milliseconds of forward + backward."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    rows = []
    for tokens, before, after in SHAPES:
        x = torch.randn(1, tokens, before, requires_grad=True)
        weight, bias = torch.randn(after, before, requires_grad=True), torch.zeros(after, requires_grad=True)
        gradient = torch.randn(1, tokens, after)
        linear, ours = paired_ms(
            lambda: functional.linear(x, weight, bias).backward(gradient),  # noqa: B023 (called at once)
            lambda: project(x, weight, bias).backward(gradient),  # noqa: B023
            rounds=10,
        )
        rows.append(
            {"tokens": tokens, "before": before, "after": after, "linear_ms": linear, "ours_ms": ours}
        )
    print(json.dumps({"machine": machine(), "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
