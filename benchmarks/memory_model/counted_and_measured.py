"""The counted peak of a training step against what it takes: on the CPU by PyTorch's profiler, float32; on a
GPU by its allocator, mixed precision.

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
from torch.profiler import ProfilerActivity, profile

from balrsam_pipeline.network import preset, random_model, step_memory
from balrsam_pipeline.network.builder import Model, freeze
from balrsam_pipeline.network.step_memory import run_step
from balrsam_pipeline.plan import Backbone, NetworkPlan

# backbone, side, mask stride, classes, batch
CPU_STEPS: tuple[tuple[Backbone, int, int, int, int], ...] = (
    ("vit_mini", 224, 2, 2, 4),
    ("vit_mini", 224, 1, 14, 4),
    ("vit_mini", 224, 1, 118, 2),
    ("vit_mini", 448, 1, 14, 1),
    ("vit_mini", 448, 1, 118, 1),
    ("vit_mini", 896, 1, 14, 1),
    ("vit_mini", 896, 2, 2, 1),
    ("vit_b", 448, 1, 14, 1),
)
GPU_STEPS: tuple[tuple[Backbone, int, int, int, int], ...] = (
    ("vit_mini", 224, 1, 3, 16),
    ("vit_b", 448, 4, 14, 4),
    ("vit_b", 448, 1, 118, 2),
    ("vit_b", 896, 4, 2, 2),
    ("vit_l", 448, 4, 3, 4),
    ("vit_h", 896, 4, 3, 1),
)


def network_of(backbone: Backbone, side: int, stride: int, classes: int) -> NetworkPlan:
    """The published network of a backbone at another input size."""
    return replace(preset(backbone, classes), input_size=(side, side), mask_stride=stride)


def model_of(network: NetworkPlan) -> Model:
    """The network with random weights, frozen where it would be."""
    model = random_model(network)
    if not network.from_scratch:
        freeze(model)
    return model.to(memory_format=torch.channels_last)


def cpu_peak(network: NetworkPlan, side: int, batch: int) -> int:
    """The most bytes that the allocator had given at once during a step."""
    model = model_of(network)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        image = torch.randn(batch, network.input_channels, side, side)
        run_step(model, image, torch.zeros(batch, side, side, dtype=torch.int16))
    events = recorded.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    now = peak = 0
    for _, change in changes:
        now += change
        peak = max(peak, now)
    return peak


def gpu_peak(network: NetworkPlan, side: int, batch: int) -> int:
    """Bytes of the card in use at the peak of the second step, context and libraries included."""
    torch.cuda.empty_cache()
    model = model_of(network).cuda().train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    average = [parameter.detach().clone() for parameter in trained]
    optimizer = torch.optim.AdamW(trained, fused=True)
    image = torch.randn(batch, network.input_channels, side, side, device="cuda")
    label = torch.zeros(batch, side, side, dtype=torch.int16, device="cuda")
    free, total = torch.cuda.mem_get_info()
    outside = total - free - torch.cuda.memory_reserved()
    for _ in range(2):
        torch.cuda.reset_peak_memory_stats()
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            run_step(model, image, label)
        optimizer.step()
    peak = torch.cuda.max_memory_reserved() + outside
    del model, optimizer, average
    return int(peak)


def rows(*, gpu: bool) -> Iterator[dict[str, Any]]:
    """A line of the result for each step."""
    for backbone, side, stride, classes, batch in GPU_STEPS if gpu else CPU_STEPS:
        network = network_of(backbone, side, stride, classes)
        memory = step_memory(network, (side, side), batch, "cuda half" if gpu else "cpu float32")
        counted = memory.total if gpu else memory.step
        measured = (gpu_peak if gpu else cpu_peak)(network, side, batch)
        yield {
            "backbone": backbone,
            "side": side,
            "classes": classes,
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
    print(json.dumps({"device": device, "steps": list(rows(gpu=arguments.gpu))}, indent=2))


if __name__ == "__main__":
    main()
