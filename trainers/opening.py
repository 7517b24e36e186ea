"""What is said when a fold begins: on what, with what, for how long, where to; and how long validation takes
after it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.hardware import GiB
from balrsam_pipeline.layout import FoldFolder, ModelFolder
from balrsam_pipeline.paths import shown
from balrsam_pipeline.plan import Plan
from balrsam_pipeline.printable import plural
from balrsam_pipeline.processor import usable_cores
from balrsam_pipeline.progress import in_words
from trainers.config import TrainingConfig
from trainers.data import FoldData
from trainers.loggers import read_log
from trainers.request import TrainRequest
from trainers.setup import Run


def opening_lines(request: TrainRequest, data: FoldData, config: TrainingConfig, run: Run) -> Iterator[str]:
    """All that a reader of the log wants to know of a run, one line each."""
    cases = (
        f"trains on {len(data.fold.train)} cases, validates on {len(data.fold.val)}"
        if data.fold.val
        else f"trains on all {len(data.fold.train)} cases; none is left to validate on, so it gets no score"
    )
    plan = f"plan {request.plan}, " if request.plan else ""
    yield f"{data.plan.dataset}, {plan}{data.configuration.name}, fold {request.fold}: {cases}"
    yield (
        f"device {_device(run.precision.device)}, {str(run.precision.dtype).removeprefix('torch.')}, "
        f"batches of {config.batch_size} patches of {' x '.join(map(str, data.configuration.patch_shape))}"
    )
    chance = config.augmentation.probability
    flat = not data.configuration.network.depth
    if flat and config.augmentation.enabled and chance("elastic_probability"):
        turned, bent = chance("rotation_probability"), chance("elastic_probability")
        yield f"augmentation: {turned:.0%} of slices are turned, {bent:.0%} bent (docs/training.md)"
    begun = f", of which {run.state.step} steps are done" if run.state.step else ""
    yield f"budget: {_budget(config)}{begun}" + (f"; then {_validation(data)}" if data.fold.val else "")
    device = run.precision.device
    memory = torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else 0
    if warning := planned_for_another(data.plan, memory, request.planning):
        yield warning
    yield f"into {shown(data.folder)}, this log too: {FoldFolder(data.folder).text_log.name}"


def planned_for_another(plan: Plan, gpu_memory_bytes: int, planning: str) -> str:
    """What is said where a plan for a CPU trains on a GPU, or one for a GPU without; empty where neither.

    Args:
        gpu_memory_bytes: of the GPU that trains; 0 where none does.
        planning: the command that makes the plan.
    """
    if plan.gpu_memory_gb is None or (plan.gpu_memory_gb > 0) == (gpu_memory_bytes > 0):
        return ""
    decided = f" {plan.decisions()}" if plan.overrides else ""
    if gpu_memory_bytes:
        memory_gb = math.floor(10 * gpu_memory_bytes / GiB) / 10
        what = (
            "made for a CPU, and trains on a GPU: its network, images and batches are smaller than they "
            f"could be. To plan for this GPU: {planning} --gpu-memory-gb {memory_gb:g}"
        )
    else:
        what = (
            f"made for a GPU of {plan.gpu_memory_gb:g} GB, and trains without: its steps may take minutes. "
            f"To plan for the CPU: {planning} --device cpu"
        )
    return (
        f"warning: this plan was {what}{decided} (what is trained already wants the former plan: another "
        "--results, or another --plan NAME)"
    )


def expected_by_log(data: FoldData) -> tuple[float | None, str]:
    """Seconds that validation of whole images will take, and by what that is judged: another fold, else the
    quick validations of this one."""
    cases, model = len(data.fold.val), ModelFolder(data.folder.parent)
    for number in model.folds():
        taken = _validated_before(model.fold(number))
        if taken is not None:
            return taken * cases, f"as fold {number} took"
    epochs = [record for record in read_log(FoldFolder(data.folder).log) if record.get("validation_s")]
    return (float(epochs[-1]["validation_s"]), "by its quick validations") if epochs else (None, "")


def _validated_before(fold: FoldFolder) -> float | None:
    """Seconds for one case that validation of a fold took; None where that was not written down."""
    try:
        run = read_json(fold.run, TrainingError)
        return float(run["validation_s"]) / len(run["validation_cases"])
    except (TrainingError, KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    if device.type != "cpu":
        return str(device)
    return f"cpu ({plural(torch.get_num_threads(), 'thread')} on {plural(usable_cores(), 'core')})"


def _budget(config: TrainingConfig) -> str:
    unit = "minute" if config.max_minutes == 1 else "minutes"
    clock = f"{unit} of the processor" if config.budget_clock == "cpu" else unit
    limits = [] if config.budget_steps is None else [f"{config.budget_steps} steps"]
    limits += [] if config.max_minutes is None else [f"{config.max_minutes:g} {clock}"]
    return " or ".join(limits)


def _validation(data: FoldData) -> str:
    seconds, source = expected_by_log(data)
    after = f"about {in_words(seconds)} ({source})" if seconds is not None else "its time is told on the way"
    return f"validation of whole images, which the budget does not count: {after}"
