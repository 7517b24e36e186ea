"""Waiting for the other processes of a training, which a cluster may start minutes apart: told, and ended
by a signal."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from torch.distributed.rendezvous import rendezvous

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.paths import meeting_place
from balrsam_pipeline.progress import in_words

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

LOG = logging.getLogger(__name__)
LIMIT = timedelta(minutes=30)  # gloo's own
TOLD_AFTER_S, TOLD_EVERY_S = 10.0, 60.0
LOOK_EVERY_S = 0.2  # for a signal; torch waits without looking


def meet(rank: int, world_size: int, limit: timedelta = LIMIT) -> Store:
    """What the processes of a training tell each other by, once all of them are there.

    Raises:
        TrainingError: they were not within the limit, or the launcher's variables say nowhere to meet.
    """
    met: list[Store] = []
    problems: list[Exception] = []

    def wait() -> None:
        try:
            store, _, _ = next(rendezvous("env://", rank, world_size, timeout=limit))
            met.append(store)
        except (RuntimeError, ValueError) as problem:
            problems.append(problem)

    waiting = threading.Thread(target=wait, name="meeting", daemon=True)
    waiting.start()
    began, told = time.monotonic(), TOLD_AFTER_S
    while waiting.is_alive():
        waiting.join(LOOK_EVERY_S)
        waited_s = time.monotonic() - began
        if waiting.is_alive() and waited_s > told:
            told += TOLD_EVERY_S
            LOG.info(
                "rank %d has waited %s at %s for all of %d ranks (RANK, WORLD_SIZE, MASTER_ADDR and "
                "MASTER_PORT are set)",
                rank,
                in_words(waited_s),
                meeting_place(),
                world_size,
            )
    if not met:
        raise _missed(rank, world_size, problems[0] if problems else None)
    return met[0]


def _missed(rank: int, world_size: int, problem: Exception | None) -> TrainingError:
    why = f" ({str(problem).splitlines()[0][:120]})" if problem is not None and str(problem) else ""
    return TrainingError(
        f"rank {rank} of {world_size}",
        found=f"not all ranks at {meeting_place()}{why}",
        expected=f"{world_size} processes, as WORLD_SIZE says, that all reach that address",
        fix="start all of them with one launcher (torchrun, srun); for one process alone: unset RANK "
        "LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT",
    )
