"""What a training step costs and what its batch costs: CPU milliseconds of loading, forward, backward,
optimiser; samples/s of both.

python benchmarks/training/step.py Dataset004_Hippocampus --configuration 2d --raw … --preprocessed …
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from balrsam_pipeline.paths import find_dataset, resolve_roots
from trainers import TrainingConfig, TrainRequest
from trainers.data.fold_data import open_fold
from trainers.parallel.ddp import Ranks, local_device
from trainers.setup import assemble
from trainers.stopping import StopRequest

WARM_UP = 3
FILL = 40  # batches drawn first, so that small datasets lie in memory as they do for nearly all of a training


def measure(request: TrainRequest, steps: int) -> dict[str, object]:
    """Median milliseconds of each part of a step, wall clock and CPU."""
    data, device = open_fold(request), local_device(request.device)
    config = request.config.completed(data.configuration)
    with assemble(request, data, config, Ranks(device=device), StopRequest()) as run:
        parts = run.trainer._parts
        batches = parts.loader.batches(0)
        for _ in range(FILL):
            next(batches)
        wall: dict[str, list[float]] = {}
        for step in range(WARM_UP + steps):
            batch = _timed(wall, "load", lambda: next(batches), device)
            _timed(
                wall,
                "forward and backward",
                lambda batch=batch: run.trainer._backward(batch, lambda: None),
                device,
            )
            _timed(wall, "optimiser", parts.optimiser.step, device)
            _timed(wall, "average", lambda step=step: parts.average.update(step + 1), device)
            parts.optimiser.zero_grad(set_to_none=True)
    medians = {name: round(1000 * statistics.median(times[WARM_UP:]), 2) for name, times in wall.items()}
    size = config.batch_size or 1
    compute = sum(value for name, value in medians.items() if name != "load")
    peak = torch.cuda.max_memory_allocated(device) / 2**20 if device.type == "cuda" else None
    return {
        "dataset": request.dataset.name,
        "configuration": data.configuration.name,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "batch_size": size,
        "input_size": data.configuration.network.input_size,
        "wall_ms": medians,
        "loader_samples_per_s": round(1000 * size / medians["load"], 1),
        "step_samples_per_s": round(1000 * size / compute, 1),
        "load_share": round(medians["load"] / (medians["load"] + compute), 3),
        "peak_memory_mib": peak,
    }


def _timed(into: dict[str, list[float]], name: str, work: Callable[[], Any], device: torch.device) -> Any:
    started = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    into.setdefault(name, []).append(time.perf_counter() - started)
    return result


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--configuration")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device")
    parser.add_argument("--checkpoint", type=Path)
    for name in ("raw", "preprocessed"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as results:
        roots = resolve_roots(arguments.raw, arguments.preprocessed, Path(results))
        request = TrainRequest(
            dataset=find_dataset(arguments.dataset, roots),
            roots=roots,
            configuration=arguments.configuration,
            config=TrainingConfig(batch_size=arguments.batch_size),
            device=arguments.device,
            workers=arguments.workers,
            base=arguments.checkpoint,
        )
        print(json.dumps(measure(request, arguments.steps), indent=2))


if __name__ == "__main__":
    main()
