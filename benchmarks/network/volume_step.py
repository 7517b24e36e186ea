"""What a step of the network over volumes takes, and its instance norm in three forms: processor seconds of
one thread.

    python benchmarks/network/volume_step.py [--patch 40 56 40] [--batch 2] [--repeats 3]

Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.network import preset, random_model
from balrsam_pipeline.network.volume_layers import InstanceNorm3d
from balrsam_pipeline.volume_plan import VolumePlan

WIDTHS = (16, 32, 64, 96)


def seconds(call: Callable[[Tensor], Tensor], image: Tensor, repeats: int) -> float:
    """Processor seconds of a forward and a backward, the mean over repeats after one that is not counted."""
    used = []
    for _ in range(repeats + 1):
        own = image.clone(memory_format=torch.preserve_format).requires_grad_()
        started = time.process_time()
        out = call(own)
        out.backward(torch.ones_like(out))  # type: ignore[no-untyped-call]
        used.append(time.process_time() - started)
    return sum(used[1:]) / repeats


def main() -> None:
    """Time a step and the norms, and print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--patch", type=int, nargs=3, default=(40, 56, 40))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    depth, height, width = arguments.patch
    volume = VolumePlan(
        depth=depth, pooling=((2, 2, 2),) * 3, kernels=((3, 3, 3),) * len(WIDTHS), widths=WIDTHS
    )
    network = replace(
        preset("vit_mini", classes=3, input_channels=1), input_size=(height, width), volume=volume
    )
    model = random_model(network).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    image = torch.randn(arguments.batch, 1, depth, height, width)
    finest = torch.randn(arguments.batch, WIDTHS[0], depth, height, width)
    finest = finest.to(memory_format=torch.channels_last_3d)
    norms: dict[str, Callable[[Tensor], Tensor]] = {
        "ours": InstanceNorm3d(WIDTHS[0]),
        "group_norm": lambda map_bczyx: functional.group_norm(map_bczyx, WIDTHS[0]),
        "instance_norm": functional.instance_norm,
    }
    figures = {
        "patch": arguments.patch,
        "batch": arguments.batch,
        "step_s": round(seconds(model, image, arguments.repeats), 3),
        "norm_ms": {
            name: round(1000 * seconds(norm, finest, arguments.repeats), 1) for name, norm in norms.items()
        },
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
