"""Running out of memory, said in words that help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.plan import Configuration
from trainers.config import TrainingConfig

CPU_ALLOCATOR = "DefaultCPUAllocator"  # torch raises a plain RuntimeError when the CPU's memory runs out


@contextmanager
def name_memory_errors(configuration: Configuration, config: TrainingConfig) -> Iterator[None]:
    """Turn any kind of out-of-memory into a TrainingError that names the remedies."""
    try:
        yield
    except (MemoryError, torch.cuda.OutOfMemoryError, RuntimeError) as problem:
        if (
            isinstance(problem, RuntimeError)
            and not isinstance(problem, torch.cuda.OutOfMemoryError)
            and CPU_ALLOCATOR not in str(problem)
        ):
            raise
        height, width = configuration.network.input_size
        smaller = max(1, (config.batch_size or configuration.batch_size) // 2)
        raise TrainingError(
            f"training '{configuration.name}'",
            found=f"out of memory with batch {config.batch_size} at input size {height} x {width}",
            expected="room for weights, activations and the optimiser",
            fix=f"a smaller batch (--batch-size {smaller}), or plan a smaller input size or backbone: "
            "balrsam plan_and_preprocess --help; what is saved stays and the same command goes on from it",
        ) from problem
