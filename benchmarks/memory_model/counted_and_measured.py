"""The counted memory of a training step against what it takes: bytes saved on the CPU always, peak memory of
a GPU where there is one.

    python benchmarks/memory_model/counted_and_measured.py [--gpu]

Prints JSON: for each network and batch the counted bytes, the measured ones, and their ratio.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional

from balrsam_pipeline.network import BalrSam, preset
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.plan import Backbone, NetworkPlan
from planners.memory import saved_bytes, training_memory

CPU_STEPS: tuple[tuple[Backbone, tuple[int, int], int, int], ...] = (
    ("vit_mini", (112, 80), 2, 4),
    ("vit_mini", (112, 80), 2, 16),
    ("vit_mini", (224, 224), 1, 4),
    ("vit_b", (224, 224), 4, 2),
    ("vit_b", (448, 448), 4, 1),
)
GPU_STEPS: tuple[tuple[Backbone, tuple[int, int], int, int], ...] = (
    ("vit_mini", (224, 224), 1, 16),
    ("vit_b", (448, 448), 4, 4),
    ("vit_b", (448, 448), 4, 8),
    ("vit_l", (448, 448), 4, 4),
    ("vit_h", (448, 448), 4, 4),
    ("vit_h", (672, 672), 4, 4),
)


def network_of(backbone: Backbone, input_size: tuple[int, int], stride: int) -> NetworkPlan:
    """The published network of a backbone at another input size."""
    return replace(preset(backbone), input_size=input_size, mask_stride=stride)


def model_of(network: NetworkPlan) -> BalrSam:
    """The network with random weights, frozen where it would be."""
    model = BalrSam(network)
    if not network.from_scratch:
        freeze(model)
    return model


def on_cpu() -> Iterator[dict[str, Any]]:
    """Counted and measured bytes that autograd saves, float32."""
    for backbone, size, stride, batch in CPU_STEPS:
        network = network_of(backbone, size, stride)
        counted = training_memory(network, size, batch, half=False).saved
        measured = saved_bytes(model_of(network), torch.zeros(batch, network.input_channels, *size))
        yield row(network, batch, counted, measured)


def on_gpu() -> Iterator[dict[str, Any]]:
    """Counted bytes, and the peak of a whole mixed-precision step (context included, as `nvidia-smi` would
    show)."""
    for backbone, size, stride, batch in GPU_STEPS:
        network = network_of(backbone, size, stride)
        yield row(
            network, batch, training_memory(network, size, batch, half=True).total, gpu_peak(network, batch)
        )


def gpu_peak(network: NetworkPlan, batch: int) -> int:
    """Bytes of the card in use at the peak of the second step."""
    torch.cuda.empty_cache()
    model = model_of(network).cuda().train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    average = [parameter.detach().clone() for parameter in trained]
    optimizer = torch.optim.AdamW(trained)
    image = torch.randn(batch, network.input_channels, *network.input_size, device="cuda")
    target = torch.zeros(batch, *network.input_size, dtype=torch.long, device="cuda")
    free, total = torch.cuda.mem_get_info()
    outside = total - free - torch.cuda.memory_reserved()  # context and libraries
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss = functional.cross_entropy(model.forward_training(image).logits.float(), target)
        loss.backward()
        optimizer.step()
    peak = torch.cuda.max_memory_allocated() + outside
    del model, optimizer, average, loss
    return int(peak)


def row(network: NetworkPlan, batch: int, counted: int, measured: int) -> dict[str, Any]:
    """One line of the result."""
    return {
        "backbone": network.backbone,
        "input_size": network.input_size,
        "batch": batch,
        "counted_mib": round(counted / 2**20, 1),
        "measured_mib": round(measured / 2**20, 1),
        "counted_over_measured": round(counted / measured, 3),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", action="store_true", help="measure the peak of a CUDA device instead")
    arguments = parser.parse_args()
    device = torch.cuda.get_device_name() if arguments.gpu else "CPU"
    print(json.dumps({"device": device, "steps": list(on_gpu() if arguments.gpu else on_cpu())}, indent=2))


if __name__ == "__main__":
    main()
