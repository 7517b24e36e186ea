"""Want of memory in training, told with what helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.layout import FoldFolder
from balrsam_pipeline.memory import is_want_of_memory
from trainers.config import TrainingConfig
from trainers.data import FoldData
from trainers.request import TrainRequest
from trainers.setup import Run


@contextmanager
def named_memory_errors(request: TrainRequest, data: FoldData, config: TrainingConfig) -> Iterator[list[Run]]:
    """Turn any kind of out-of-memory into a TrainingError that names the remedies. What it yields is to hold
    the run, once there is one: a smaller batch helps none that works through single samples."""
    begun: list[Run] = []
    try:
        yield begun
    except (MemoryError, RuntimeError) as problem:
        if not is_want_of_memory(problem):
            raise
        batch = config.batch_size or data.configuration.batch_size
        single = batch == 1 or any(run.state.pieces >= batch for run in begun)
        accepted = " --accept-changed-settings" if FoldFolder(data.folder).has_checkpoint() else ""
        smaller = "" if single else f"a smaller batch (--batch-size {batch // 2}{accepted}); or "
        size = " x ".join(map(str, data.configuration.network.input_shape))
        raise TrainingError(
            f"training '{data.configuration.name}'",
            found=f"out of memory with batch {batch} at input size {size}"
            + (", one sample after the other" if single else ""),
            expected="room for weights, activations and the optimiser",
            fix=f"{smaller}end what else takes memory of the device (nvidia-smi), after which the same "
            f"command goes on from what is saved; or plan for less: {request.planning} with a smaller "
            "--input-size, --backbone or --gpu-memory-gb (what is begun wants the former plan: another "
            "--plan NAME)",
        ) from problem
