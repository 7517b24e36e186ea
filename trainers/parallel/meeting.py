"""Waiting for the other processes of a training, which a cluster may start minutes apart: told, and ended
by a signal."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING

from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.paths import launcher_environment, meeting_place
from balrsam_pipeline.progress import in_words

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

LOG = logging.getLogger(__name__)
LIMIT = timedelta(minutes=30)  # gloo's own
LATER_LIMIT = timedelta(days=2)  # of ranks that met before: the first may be validating the last fold
TOLD_AFTER_S, TOLD_EVERY_S = 10.0, 60.0
LOOK_EVERY_S = 0.2  # for a signal; torch waits without looking
_NUMBERS = count()  # of meetings of this process: the place remembers those before
_TAKEN = ("EADDRINUSE", "failed to listen")  # what torch says of a port that another process has


def meet(rank: int, world_size: int, limit: timedelta | None = None) -> Store:
    """What the processes of a training tell each other by, once all of them are there; each training of a
    process, and each start by the launcher, has keys of its own.

    Args:
        limit: to wait; None is half an hour the first time, later as long as a validation may take.

    Raises:
        TrainingError: they were not within the limit, or the launcher's variables say nowhere to meet.
    """
    met: list[Store] = []
    problems: list[Exception] = []
    number = next(_NUMBERS)
    name = f"training_{launcher_environment()['attempt']}_{number}"
    within = limit or (LATER_LIMIT if number else LIMIT)

    def wait() -> None:
        try:
            place, _, _ = next(rendezvous("env://", rank, world_size, timeout=within))
            store = PrefixStore(name, place)
            if (
                store.add("here", 1) == world_size
            ):  # the place itself waits for nobody where a launcher has it
                store.set("all", "1")
            store.wait(["all"], within)
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
    said = str(problem).strip().splitlines()[0][:120] if problem is not None and str(problem).strip() else ""
    if any(word in str(problem) for word in _TAKEN):
        return TrainingError(
            f"rank {rank} of {world_size}",
            found=f"the port of {meeting_place()} is taken ({said})",
            expected="a free one, at which the first rank can wait for the others",
            fix="give another MASTER_PORT to all ranks (torchrun --master-port)",
        )
    return TrainingError(
        f"rank {rank} of {world_size}",
        found=f"not all ranks at {meeting_place()}" + (f" ({said})" if said else ""),
        expected=f"{world_size} processes, as WORLD_SIZE says, that all reach that address",
        fix="start all of them at once: python -m balrsam_pipeline.execution.launch "
        f"--processes {world_size} -- train …, or across machines torchrun … -m balrsam_pipeline train … "
        "on each; for one process alone: unset RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT",
    )
