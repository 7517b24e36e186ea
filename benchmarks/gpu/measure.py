"""One measurement on a GPU (or, to try it, a CPU) as a line of JSON; random weights, generated images.

    python benchmarks/gpu/measure.py training --backbone vit_b --side 448 --batch 8
    python benchmarks/gpu/measure.py float16
    python benchmarks/gpu/measure.py prediction
    python benchmarks/gpu/measure.py two_ranks

`training`: images a second and peak memory of our step in mixed precision against the counted peak, beside
the plain recipe, stock segment_anything (its own builder, random weights) with LoRA in float32, if that fits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from balrsam_pipeline.inference import Predictor, PredictorOptions
from balrsam_pipeline.network import BalrSam, preset, step_memory
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.progress import phase
from trainers.check_machine.bench import set_up
from trainers.check_machine.subject import generated_subject
from trainers.optimisation import Precision

sys.path.append(str(Path(__file__).parent.parent / "network"))
from stock import StockLora, machine

STEPS, FLOAT16_STEPS, CLASSES = 5, 30, 14


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate_and_peak(step: Callable[[], None], device: torch.device, images: int) -> tuple[float, int | None]:
    """Images a second of the fastest of a few steps, and the most bytes taken from a GPU in them."""
    step()
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    took = []
    for _ in range(STEPS):
        began = time.perf_counter()
        step()
        synchronise(device)
        took.append(time.perf_counter() - began)
    peak = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None
    return images / min(took), peak


def training(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Our step, and the plain recipe's."""
    side, batch = arguments.side, arguments.batch
    network = replace(preset(arguments.backbone, CLASSES), input_size=(side, side))
    subject = generated_subject(device, None)
    channels = network.input_channels
    configuration = replace(
        subject.configuration,
        network=network,
        patch_size=(side, side),
        batch_size=batch,
        normalization=("z_score",) * channels,
        normalize_inside_mask=(False,) * channels,
    )
    subject = replace(subject, configuration=configuration, config=replace(subject.config, batch_size=batch))
    result: dict[str, Any] = {"backbone": arguments.backbone, "side": side, "batch": batch}
    with phase("measure") as going:
        bench = set_up(subject, device, Generated(channels, side, batch), going)
    rate, peak = rate_and_peak(bench.step, device, batch)
    counted = step_memory(network, (side, side), batch)
    result["ours"] = {
        "images_per_s": rate,
        "peak_bytes": peak,
        "counted_bytes": counted.total,
        "counted_without_overhead": counted.total - counted.overhead,
        "pieces": bench.state.pieces,
    }
    del bench
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if arguments.backbone in ("vit_b", "vit_l", "vit_h"):
        result["stock"] = stock(arguments.backbone, side, batch, device)
    return result


def stock(backbone: Any, side: int, batch: int, device: torch.device) -> dict[str, Any]:
    """The plain recipe, or that it does not fit."""
    try:
        model = StockLora(backbone, side).to(device)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
        image = torch.randn(batch, 3, side, side, device=device)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            model(image).square().mean().backward()
            optimizer.step()

        rate, peak = rate_and_peak(step, device, batch)
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    return {"images_per_s": rate, "peak_bytes": peak}


class Generated:
    """The same batch of noise for every step."""

    def __init__(self, channels: int, side: int, batch: int) -> None:
        from trainers.data import Batch

        rng = np.random.default_rng(0)
        image = rng.normal(size=(batch, channels, side, side)).astype(np.float32)
        label = rng.integers(0, 3, (batch, side, side)).astype(np.int16)
        self._batch = Batch(image, label, np.arange(batch, dtype=np.uint32))

    def batches(self, first_step: int) -> Any:
        """Without end."""
        while True:
            yield self._batch

    def describe(self, step: int) -> str:
        """In words."""
        return "noise"

    def close(self) -> None:
        """Nothing to end."""


def float16(_: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Training in float16 with its scaler, whatever the card would choose."""
    subject = generated_subject(torch.device("cpu"), None)
    with phase("measure") as going:
        bench = set_up(subject, device, subject.loader(0), going)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
    dtype = torch.float16 if device.type == "cuda" else torch.bfloat16
    object.__setattr__(bench.trainer._parts, "precision", Precision(device, dtype, scaler))
    steps = FLOAT16_STEPS if device.type == "cuda" else 2
    for _step in range(steps):
        bench.step()
    state = bench.state
    if state.loss_steps == 0:
        raise SystemExit("no step was finite")
    return {"steps": steps, "finite": state.loss_steps, "scale": scaler.get_scale(), "dtype": str(dtype)}


def prediction(_: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds for a case in whole slices, and in overlapping tiles."""
    subject = generated_subject(device, None)
    model = BalrSam(subject.configuration.network)
    if not subject.configuration.network.from_scratch:
        freeze(model)
    slices = 64 if device.type == "cuda" else 2
    options = PredictorOptions(device=str(device))
    predictor = Predictor([model], subject.plan, subject.configuration, subject.labels, options)
    result = {}
    for name, factor in (("whole", 1.0), ("tiles", 1.5)):
        sides = [round(factor * side) for side in subject.configuration.patch_size]
        image = np.zeros((predictor.channels, slices, *sides), np.float32)
        predictor.logits(image[:, :1])
        began = time.perf_counter()
        predictor.logits(image)
        synchronise(device)
        result[name] = {"slices": slices, "sides": sides, "s_per_case": time.perf_counter() - began}
    return result


def two_ranks(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Two processes that average gradients: on two cards with NCCL, on one with gloo, since NCCL refuses two
    processes on one card."""
    words = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, "rank")
    done = subprocess.run(
        (sys.executable, *words, "--device", arguments.device), capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(done.stderr[-2000:])
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


def rank(arguments: argparse.Namespace, _: torch.device) -> dict[str, Any]:
    """One of two ranks: a step of a small network whose gradients are averaged."""
    several = arguments.device == "cuda" and torch.cuda.device_count() > 1
    backend = "nccl" if several else "gloo"
    distributed.init_process_group(backend)
    number = distributed.get_rank()
    device = (
        torch.device("cuda", number if several else 0) if arguments.device == "cuda" else torch.device("cpu")
    )
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Conv2d(1, 4, 3).to(device))
    image: Tensor = torch.full((2, 1, 16, 16), float(number + 1), device=device)
    model(image).sum().backward()
    gradient = next(model.parameters()).grad
    if gradient is None:
        raise SystemExit("no gradient")
    value = gradient.flatten()[0].item()
    distributed.destroy_process_group()
    expected = 2 * 14 * 14 * 1.5  # the mean over ranks of samples · positions · value
    return {"backend": backend, "rank": number, "gradient": value, "as_expected": abs(value - expected) < 1}


def main() -> None:
    """Measure one thing."""
    kinds: dict[str, Callable[[argparse.Namespace, torch.device], dict[str, Any]]] = {
        "training": training,
        "float16": float16,
        "prediction": prediction,
        "two_ranks": two_ranks,
        "rank": rank,
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=kinds)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--backbone", default="vit_b")
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    figures = kinds[arguments.kind](arguments, torch.device(arguments.device))
    about = {} if arguments.kind == "rank" else {"machine": machine()}
    print(json.dumps(figures | about), flush=True)


if __name__ == "__main__":
    main()
