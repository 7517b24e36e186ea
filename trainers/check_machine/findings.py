"""What is tried on a machine: each check returns what was found, whether that is good, and else a fix."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from balrsam_pipeline.hardware import GiB, find_accelerator, unused_gpu
from balrsam_pipeline.inference import Predictor, PredictorOptions
from balrsam_pipeline.memory import is_want_of_memory
from balrsam_pipeline.network import step_memory
from balrsam_pipeline.network.live_bytes import LiveBytes
from balrsam_pipeline.network.step_memory import Policy
from balrsam_pipeline.processor import usable_cores
from balrsam_pipeline.progress import Phase, in_words
from trainers.check_machine.bench import Bench, set_up
from trainers.check_machine.subject import Subject
from trainers.checkpoints import CheckpointFolder
from trainers.data import BatchLoader
from trainers.optimisation import choose_precision

TIMED_STEPS, TIMED_BATCHES = 2, 3
LOADER_S = 10.0  # the loader is timed no longer
PRODUCT_ERROR = 0.02  # of 16-bit products of numbers from 0 to 1
MEMORY_TOLERANCE = 1.05  # measured peak over the counted one
# of how far two steps move the weights: kernels of a GPU may add up in another order each time, and AdamW
# moves a weight whose gradient is all rounding as far as any other. Without its moments restored, or with
# another count of steps, half of the way is another one.
RESUME_ERROR = {"cpu": 1e-6, "cuda": 0.2}
SLICES, TILES = 2, 1.5  # the predicted image: slices, and how many times a patch its sides are


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the page.

    Attributes:
        said: what was found, in words.
        good: whether it is as it should be; `fix` says what to do where it is not.
        figures: for scripts.
    """

    name: str
    said: str
    good: bool = True
    fix: str = ""
    figures: dict[str, float | int | str | bool | None] = field(default_factory=dict)


def find_hardware(device: torch.device) -> Finding:
    """The device that training takes, and how it was found."""
    found, cores = find_accelerator(), usable_cores()
    wrong, fix = unused_gpu()
    figures: dict[str, float | int | str | bool | None] = {
        "device": str(device),
        "gpu": found.name if found else None,
        "gpu_memory_gb": found.memory_gb if found else None,
        "found_by": found.found_by if found else None,
        "cores": cores,
        "torch": str(torch.__version__),
    }
    beside = f"{cores} processor cores, PyTorch {torch.__version__}"
    if found is not None:
        gpu = f"{found.name}, {found.memory_gb:g} GB, found by {found.found_by}"
        said = f"{gpu}; training on {device}; {beside}"
        return Finding(name="hardware", said=said, figures=figures)
    if wrong:
        said = f"{wrong}; training on {device}; {beside}"
        return Finding(name="hardware", said=said, good=False, fix=fix, figures=figures)
    return Finding(name="hardware", said=f"no GPU was found; training on {device}; {beside}", figures=figures)


def check_precision(device: torch.device) -> Finding:
    """The type that training computes in, and that it computes."""
    numbers = torch.linspace(0, 1, 64, dtype=torch.float64).view(8, 8)
    exact = numbers @ numbers.t()
    try:
        precision = choose_precision(device, amp=True)
        with precision.autocast():
            product = numbers.float().to(device) @ numbers.float().t().to(device)
        error = float((product.cpu().double() - exact).abs().max() / exact.max())
    except RuntimeError as problem:
        return _no_products(device, problem)
    scaled = precision.scaler.is_enabled()
    name = str(precision.dtype).removeprefix("torch.")
    return Finding(
        name="precision",
        said=f"training computes in {name}{' with a gradient scaler' if scaled else ''}",
        good=math.isfinite(error) and error < PRODUCT_ERROR,
        fix=f"products in {name} are off by {error:.1%}: update the driver, or train with {{'amp': false}} "
        "(--settings FILE)",
        figures={"dtype": name, "scaler": scaled, "product_error": error},
    )


def _no_products(device: torch.device, problem: RuntimeError) -> Finding:
    return Finding(
        name="precision",
        said=f"{device} cannot multiply: {str(problem).strip().splitlines()[0]}",
        good=False,
        fix="install the PyTorch built for that device and its driver (pytorch.org), or take --device cpu",
    )


def check_step(
    subject: Subject, device: torch.device, going: Phase, short: bool = False
) -> tuple[Finding, float]:
    """Planned training steps: their time, and their memory against what is counted; and samples a second.

    Args:
        short: one step alone on a CPU, since more take seconds.
    """
    quick = short and device.type == "cpu"
    with closing(subject.loader(0)) as loader:
        bench = set_up(subject, device, loader, going)
        try:
            first = _timed(bench.step, device)  # kernels are chosen and memory is taken in it
            took = [first] if quick else [_timed(bench.step, device) for _ in range(TIMED_STEPS)]
            memory = None if quick else _memory(subject, device, bench)
        except (MemoryError, RuntimeError) as problem:
            if not is_want_of_memory(problem):
                raise
            return _no_memory(subject), 0.0
    batch, seconds = subject.configuration.batch_size, min(took)
    finite = bench.state.skipped_in_a_row == 0
    pieces, fits = bench.state.pieces, memory is None or memory[0] <= MEMORY_TOLERANCE * memory[1]
    said = f"a step with {batch} patches takes {seconds:.2f} s, {batch / seconds:.1f} patches a second"
    planned_s = None if quick or subject.steps is None else subject.steps * seconds
    if planned_s is not None:
        said += f"; the planned {subject.steps:,} steps of a fold take about {in_words(planned_s)}"
    if memory is not None:
        said += f"; its peak is {memory[0] / GiB:.2f} GB, counted were {memory[1] / GiB:.2f}"
    fix = (
        "losses are not finite: train with {'amp': false} (--settings FILE) and report it"
        if not finite
        else "the GPU is smaller than the plan's, or shared: plan for it with --gpu-memory-gb, or a smaller "
        "--batch-size"
    )
    figures = {"batch": batch, "step_s": seconds, "patches_per_s": batch / seconds, "pieces": pieces}
    if planned_s is not None:
        figures |= {"planned_s": planned_s, "epoch_s": subject.config.steps_per_epoch * seconds}
    if memory is not None:
        figures |= {"peak_bytes": memory[0], "counted_bytes": memory[1]}
    finding = Finding(
        name="training step", said=said, good=finite and fits and pieces == 1, fix=fix, figures={**figures}
    )
    return finding, batch / seconds


def check_loader(subject: Subject, device: torch.device, workers: int, step_rate: float) -> Finding:
    """Whether batches are made as fast as steps use them."""
    batch = subject.configuration.batch_size
    with closing(subject.loader(workers)) as loader:
        rate = batch / _seconds_of_batch(loader, workers)
    where = f"{workers} worker processes" if workers else "the training process"
    cuda = device.type == "cuda"
    return Finding(
        name="loader",
        said=f"{rate:.1f} patches a second are made by {where}, {step_rate:.1f} are used",
        good=rate >= step_rate,
        fix="the device waits for patches: give it more cores and shared memory (docker: --shm-size=8g), "
        "or --workers N"
        if cuda
        else "patches take longer than the network: preprocess to a faster disk, or --workers 1",
        figures={"workers": workers, "made_per_s": rate, "used_per_s": step_rate},
    )


def check_resume(subject: Subject, device: torch.device, going: Phase) -> Finding:
    """Two steps, saved, and two more: on the same trainer, and on a fresh one that went on from the file."""
    with tempfile.TemporaryDirectory(prefix="balrsam-check-") as name, closing(subject.loader(0)) as loader:
        folder = CheckpointFolder(Path(name))
        bench = set_up(subject, device, loader, going)
        for _ in range(2):
            bench.step()
        bench.run_state.save(folder, bench.state, "latest")
        saved = _weights_of(bench)
        for _ in range(2):
            bench.step()
        weights = _weights_of(bench)
        del bench
        other = set_up(subject, device, loader, going)
        checkpoint = folder.load_latest()
        if checkpoint is None:
            raise FileNotFoundError(name)
        other.trainer.state = other.run_state.restore(checkpoint)
        for _ in range(2):
            other.batches.take()
        for _ in range(2):
            other.step()
        difference = _weights_of(other) - weights
    share = float(difference.norm() / (weights - saved).norm())
    return Finding(
        name="save and resume",
        said=f"two steps after a checkpoint end {share:.1e} of their way from where they end without it",
        good=share <= RESUME_ERROR.get(device.type, RESUME_ERROR["cuda"]),
        fix="a resumed training is another one here: report it with this page",
        figures={"share_of_the_way": share, "largest_difference": float(difference.abs().max())},
    )


def check_prediction(subject: Subject, device: torch.device, going: Phase) -> Finding:
    """Two slices in overlapping tiles."""
    with closing(subject.loader(0)) as loader:
        model = set_up(subject, device, loader, going).run_state.model
    predictor = Predictor(
        [model], subject.plan, subject.configuration, subject.labels, PredictorOptions(device=str(device))
    )
    sides = [math.ceil(TILES * side) for side in subject.configuration.patch_size]
    image = np.random.default_rng(0).normal(size=(predictor.channels, SLICES, *sides)).astype(np.float32)
    began = time.monotonic()
    logits = predictor.predict_preprocessed(image)
    seconds, finite = time.monotonic() - began, bool(np.isfinite(logits).all())
    return Finding(
        name="prediction",
        said=f"{SLICES} slices of {sides[0]} × {sides[1]} voxels in overlapping tiles take {seconds:.2f} s",
        good=finite and logits.shape[1:] == image.shape[1:],
        fix="predictions are not finite: predict on the CPU (--device cpu) and report it",
        figures={"seconds": seconds, "finite": finite},
    )


def _weights_of(bench: Bench) -> Tensor:
    """All trained weights in one vector, on the CPU."""
    weights = (tensor.detach() for tensor in bench.run_state.weights.values() if tensor.is_floating_point())
    return torch.cat([tensor.flatten().float().cpu() for tensor in weights])


def _timed(step: Callable[[], None], device: torch.device) -> float:
    began = time.monotonic()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic() - began


def _memory(subject: Subject, device: torch.device, bench: Bench) -> tuple[int, int]:
    """Peak and counted bytes of a step; on a GPU with all that the process has of it."""
    configuration = subject.configuration
    policy: Policy = "cuda half" if device.type == "cuda" else "cpu float32"
    counted = step_memory(configuration.network, configuration.patch_shape, configuration.batch_size, policy)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what others left there is none of this step's
        free, total = torch.cuda.mem_get_info(device)
        outside = total - free - torch.cuda.memory_reserved(device)
        torch.cuda.reset_peak_memory_stats(device)
        bench.step()
        return torch.cuda.max_memory_reserved(device) + outside, counted.total
    state = bench.run_state
    tensors = [*state.model.parameters(), *state.model.buffers(), *state.average.average.values()]
    moments = [value for entry in state.optimiser.state.values() for value in entry.values()]
    with LiveBytes([*tensors, *moments]) as live:
        bench.step()
    return live.peak, counted.step


def _no_memory(subject: Subject) -> Finding:
    return Finding(
        name="training step",
        said=f"memory ran out for a single patch of {subject.what}",
        good=False,
        fix="plan for this machine: plan_and_preprocess --gpu-memory-gb, --input-size or --backbone",
    )


def _seconds_of_batch(loader: BatchLoader, workers: int) -> float:
    batches: Iterator[object] = loader.batches(0)
    for _ in range(2 * workers or 1):  # processes start, files are opened
        next(batches)
    began, count = time.monotonic(), 0
    while count < TIMED_BATCHES * max(1, workers) and time.monotonic() - began < LOADER_S:
        next(batches)
        count += 1
    return max(time.monotonic() - began, 1e-9) / count
