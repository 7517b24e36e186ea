"""Several processes as one trainer: a launcher's ranks, sums over them, and agreeing when to stop."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.parallel import DistributedDataParallel

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.hardware import best_device, checked_device
from balrsam_pipeline.paths import launcher_environment
from trainers.parallel.meeting import meet

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

_LOST = (
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "Socket closed",
    "timed out",
    "connectFullMesh",
)  # what gloo and the store say of a dead process

# Keeps the groups of the last training: a model in DDP that outlives them (in a traceback, say) would free
# them while it holds the GIL, for which gloo's thread may still wait (torch 2.13): neither would end.
_LAST_GROUPS: list[distributed.ProcessGroup | None] = []
# For gloo's threads to let go of the last tensors, for which they need the GIL: a process that ends before is
# ended by SIGABRT (7 of 14 trainings of nothing under torchrun; torch 2.13).
_SETTLED_S = 0.2


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together; they vote by `votes`, between CPUs, so that no vote waits
    for a GPU."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    votes: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def agree(self, stop: bool, progress: float) -> tuple[bool, float]:
        """Whether any rank was asked to stop, and the furthest rank's progress: the same answer on all."""
        if self.world_size == 1:
            return stop, progress
        votes = torch.tensor([float(stop), progress], dtype=torch.float64)
        distributed.all_reduce(votes, op=distributed.ReduceOp.MAX, group=self.votes)
        asked, furthest = votes.tolist()
        return asked > 0, furthest

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over ranks; itself where there is one."""
        if self.world_size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices, find_unused_parameters=False)


def sum_over_ranks(sums: Tensor) -> Tensor:
    """Add a vector over all ranks, differentiably (the backward pass adds gradients, which averaging over
    ranks undoes)."""
    total: Tensor = all_reduce(sums)  # type: ignore[no-untyped-call]
    return total


@contextmanager
def name_lost_ranks(ranks: Ranks) -> Iterator[None]:
    """Turn the error of talking to a rank that died into one that says so.

    Raises:
        TrainingError: another rank ended while this one waited for it.
    """
    try:
        yield
    except RuntimeError as problem:
        lost = isinstance(problem, distributed.DistError) or any(word in str(problem) for word in _LOST)
        if ranks.world_size == 1 or not lost:
            raise
        raise TrainingError(
            f"rank {ranks.rank} of {ranks.world_size}",
            found=f"another rank ended while this one waited for it ({str(problem).splitlines()[0][-120:]})",
            expected="all ranks alive",
            fix="see that rank's own message above or below (SIGKILL mostly means that memory ran out); "
            "the same command goes on from the last checkpoint",
        ) from None


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes where a launcher started several (gloo on CPU, nccl on GPUs); leave them at
    the end.

    Raises:
        TrainingError: the others did not come, or one was lost while they joined.
    """
    environment = launcher_environment()
    if device.type == "cuda":  # nccl, pinned memory, and whatever else does not name a device, take this one
        torch.cuda.set_device(device)
    if environment["world_size"] == 1:
        yield Ranks(device=device)
        return
    ranks = Ranks(environment["rank"], environment["world_size"], device)
    store = meet(ranks.rank, ranks.world_size)
    try:
        with name_lost_ranks(ranks):
            votes = _join(ranks, store)
        _LAST_GROUPS[:] = [distributed.group.WORLD, votes]
        yield replace(ranks, votes=votes)
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
            time.sleep(_SETTLED_S)


def _join(ranks: Ranks, store: Store) -> distributed.ProcessGroup | None:
    """Join the others; returns the group to vote in, None where it is that of all."""
    on_gpu = ranks.device.type == "cuda"
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo", store=store, rank=ranks.rank, world_size=ranks.world_size
    )
    return distributed.new_group(backend="gloo") if on_gpu else None


def local_device(device: str | None) -> torch.device:
    """The device to train on: as named, else this rank's GPU, else the CPU.

    Raises:
        UsageError: it is no device's name, or that device is not here.
    """
    index = launcher_environment()["local_rank"]
    if device == "cuda":
        device = f"cuda:{index}"
    return checked_device(device if device is not None else str(best_device(index)))
