"""One measurement on a GPU (or, to try it, a CPU) as a line of JSON; random weights, generated images.

    python benchmarks/gpu/measure.py training --backbone vit_b --side 448 --batch 8
    python benchmarks/gpu/measure.py float16
    python benchmarks/gpu/measure.py prediction

`training`: images a second and peak memory of our step in mixed precision (intensity augmentation, loss and
optimiser included) against the counted peak, beside the plain recipe: stock segment_anything (its own
builder, random weights) with LoRA, a loss that costs nothing, in float32 and in mixed precision, where they
fit.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.hardware import half_precision
from balrsam_pipeline.imageio import Geometry, Image, write_image
from balrsam_pipeline.inference import Predictor, PredictorOptions, predict_files
from balrsam_pipeline.network import preset, random_model, step_memory
from balrsam_pipeline.network.builder import freeze
from balrsam_pipeline.plan import Backbone, NetworkPlan
from balrsam_pipeline.progress import phase
from planners.rules.batch_size import checkpointed_blocks
from trainers.check_machine.bench import set_up
from trainers.check_machine.subject import Subject, generated_subject
from trainers.data import Batch
from trainers.optimisation import Precision

sys.path.append(str(Path(__file__).parent.parent / "network"))
from stock import StockLora, machine

STEPS, CLASSES = 5, 14
CASES, SLICES = 4, {"cuda": 24, "cpu": 2}


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate_and_peak(step: Callable[[], None], device: torch.device, images: int) -> dict[str, Any]:
    """Images a second of the fastest of a few steps; and the most bytes of a GPU that tensors took in them,
    that the allocator held for them, and that were gone from the whole card."""
    cuda = device.type == "cuda"
    for _ in range(2 if cuda else 1):  # kernels are chosen and memory is taken in the first
        step()
    synchronise(device)
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    took = []
    for _ in range(STEPS if cuda else 1):
        began = time.perf_counter()
        step()
        synchronise(device)
        took.append(time.perf_counter() - began)
    free, total = torch.cuda.mem_get_info(device) if cuda else (0, 0)
    return {
        "images_per_s": images / min(took),
        "peak_allocated": torch.cuda.max_memory_allocated(device) if cuda else None,
        "peak_reserved": torch.cuda.max_memory_reserved(device) if cuda else None,
        "card_in_use": total - free if cuda else None,
    }


def training(arguments: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Our step, and the plain recipe's."""
    side, batch = arguments.side, arguments.batch
    network = replace(preset(arguments.backbone, CLASSES), input_size=(side, side))
    again = checkpointed_blocks((side, side), from_scratch=network.from_scratch).value
    if arguments.backbone in ("vit_b", "vit_l", "vit_h"):
        network = replace(network, checkpointed_blocks=again)
    result: dict[str, Any] = {"backbone": arguments.backbone, "side": side, "batch": batch}
    result["ours"] = attempted(lambda: ours(network, side, batch, device))
    if arguments.backbone in ("vit_b", "vit_l", "vit_h"):
        result["stock_float32"] = attempted(lambda: stock(arguments, device, mixed=False))
        result["stock_mixed"] = attempted(lambda: stock(arguments, device, mixed=True))
    return result


def attempted(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured, or that the card is too small for it; its memory is free again."""
    try:
        return measure()
    except torch.OutOfMemoryError:
        return {"out_of_memory": True}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def ours(network: NetworkPlan, side: int, batch: int, device: torch.device) -> dict[str, Any]:
    """The step of the product's own trainer."""
    channels = network.input_channels
    subject = subject_with(network, side, batch, device)
    with phase("measure") as going:
        bench = set_up(subject, device, Generated(channels, side, batch), going)
    measured = rate_and_peak(bench.step, device, batch)
    counted = step_memory(network, (side, side), batch)
    return {
        **measured,
        "counted": counted.total,
        "counted_without_overhead": counted.total - counted.overhead,
        "checkpointed_blocks": network.checkpointed_blocks,
        "pieces": bench.state.pieces,
        "finite": bench.state.skipped_in_a_row == 0,
    }


def subject_with(network: NetworkPlan, side: int, batch: int, device: torch.device) -> Subject:
    """The made-up volume's plan with another network."""
    subject = generated_subject(device, None, network.classes)
    channels = network.input_channels
    configuration = replace(
        subject.configuration,
        network=network,
        patch_size=(side, side),
        batch_size=batch,
        normalization=("z_score",) * channels,
        normalize_inside_mask=(False,) * channels,
    )
    return replace(subject, configuration=configuration, config=replace(subject.config, batch_size=batch))


def stock(arguments: argparse.Namespace, device: torch.device, *, mixed: bool) -> dict[str, Any]:
    """The plain recipe, at the same size and batch."""
    backbone: Backbone = arguments.backbone
    with device:
        model = StockLora(backbone, arguments.side)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    image = torch.randn(arguments.batch, 3, arguments.side, arguments.side, device=device)

    def precision() -> AbstractContextManager[object]:
        dtype = half_precision(device) if device.type == "cuda" else torch.bfloat16
        return torch.autocast(device.type, dtype=dtype) if mixed else nullcontext()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with precision():
            loss = model(image).float().square().mean()
        loss.backward()
        optimizer.step()

    return rate_and_peak(step, device, arguments.batch)


class Generated:
    """The same batch of noise for every step."""

    def __init__(self, channels: int, side: int, batch: int) -> None:
        rng = np.random.default_rng(0)
        image = rng.normal(size=(batch, channels, side, side)).astype(np.float32)
        label = rng.integers(0, CLASSES, (batch, side, side)).astype(np.int16)
        self._batch = Batch(image, label, np.arange(batch, dtype=np.uint32))

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Without end."""
        while True:
            yield self._batch

    def describe(self, step: int) -> str:
        """In words."""
        return "noise"

    def close(self) -> None:
        """Nothing to end."""


def float16(_: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Training in float16 with its scaler, whatever the card would choose; on a CPU, where float16 is slow,
    the scaler with bfloat16."""
    subject = generated_subject(torch.device("cpu"), None)
    with phase("measure") as going:
        bench = set_up(subject, device, subject.loader(0), going)
    cuda = device.type == "cuda"
    dtype, steps, least = (torch.float16, 30, 20) if cuda else (torch.bfloat16, 2, 1)
    scaler = torch.amp.GradScaler(device.type)
    object.__setattr__(bench.trainer._parts, "precision", Precision(device, dtype, scaler))
    for _step in range(steps):
        bench.step()
    state, scale = bench.state, scaler.get_scale()
    figures = {"dtype": str(dtype), "steps": steps, "finite": state.loss_steps, "scale": scale}
    if state.loss_steps < least or scale < 1:
        raise SystemExit(f"too few steps were finite: {figures}")
    return figures | {"mean_loss": state.loss_sum / state.loss_steps}


def prediction(_: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Seconds for a case in whole slices and in overlapping tiles; and of files to files, several cases at a
    time, by stage."""
    subject = generated_subject(device, None)
    model = random_model(subject.configuration.network)
    if not subject.configuration.network.from_scratch:
        freeze(model)
    slices = SLICES[device.type]
    options = PredictorOptions(device=str(device))
    predictor = Predictor([model], subject.plan, subject.configuration, subject.labels, options)
    result: dict[str, Any] = {}
    for name, factor in (("whole", 1.0), ("tiles", 1.5)):
        sides = [round(factor * side) for side in subject.configuration.patch_size]
        image = np.random.default_rng(0).normal(size=(predictor.channels, slices, *sides)).astype(np.float32)
        predictor.logits(image[:, :1])
        began = time.perf_counter()
        source = predictor.logits(image)
        synchronise(device)
        result[name] = {"slices": slices, "sides": sides, "s_per_case": time.perf_counter() - began}
        result[name]["logits_on"] = source.read(0, 1).device.type
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as folder:
        result["files"] = of_files(predictor, Path(folder), (slices, *subject.configuration.patch_size))
    return result


def of_files(predictor: Predictor, folder: Path, shape_zyx: tuple[int, int, int]) -> dict[str, Any]:
    """Seconds of each stage, added up over cases; they overlap, so the wall clock shows less."""
    grid = Geometry(dimension=3, shape_zyx=shape_zyx, spacing_mm=(1.0, 1.0, 1.0))
    rng, cases = np.random.default_rng(0), {}
    for number in range(CASES):
        case = f"case_{number}"
        paths = tuple(folder / f"{case}_{channel:04d}.nii.gz" for channel in range(predictor.channels))
        for path in paths:
            write_image(path, Image(rng.integers(0, 64, (1, *shape_zyx)).astype(np.int16), grid))
        cases[case] = CaseFiles(case, paths)
    report = predict_files(predictor, cases, folder / "predicted")
    if report.failed:
        raise SystemExit(str(report.failed))
    return {"cases": CASES, "shape_zyx": shape_zyx, "wall_s": report.wall_s, "stages_s": report.seconds}


def main() -> None:
    """Measure one thing."""
    kinds: dict[str, Callable[[argparse.Namespace, torch.device], dict[str, Any]]] = {
        "training": training,
        "float16": float16,
        "prediction": prediction,
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
    device = torch.device("cuda", 0) if arguments.device == "cuda" else torch.device("cpu")
    figures = kinds[arguments.kind](arguments, device)
    print(json.dumps(figures | {"machine": machine()}), flush=True)


if __name__ == "__main__":
    main()
