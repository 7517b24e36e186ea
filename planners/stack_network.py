"""Slices, input and batch size of the configuration whose adapted network sees stacks of slices."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from balrsam_pipeline.hardware import USABLE_SHARE
from balrsam_pipeline.plan import NetworkPlan
from planners.hardware import Hardware
from planners.rules import Decision
from planners.rules.batch_size import (
    ADAPTED_LARGEST,
    cpu_volume_batch_size,
    given_batch_size,
    gpu_batch_size,
)
from planners.rules.input_size import Size
from planners.rules.stack import counts_for, stack_size

USEFUL_BATCH = 2  # stacks: of two cases
Try = tuple[Size, NetworkPlan, dict[str, str]]


def fit_stacks(
    tries: Iterable[Try], depth: int, hardware: Hardware, given_batch: int | None
) -> tuple[Size, NetworkPlan, int, dict[str, str]]:
    """Sizes, network and batch size together: the first of the tries of which two stacks fit, with as many
    slices in each as the memory holds.

    Args:
        tries: sizes, network and reasons of slices seen alone, the best first; one at least.
        depth: slices of a typical volume.
        given_batch: stacks of a batch, where the user asked for a number.
    """
    memory = hardware.memory_bytes
    few = counts_for(depth)[0]
    chosen = Decision(few, f"{few} neighbouring slices at once: on a CPU few make a quick step")
    for tried in tries:
        size, network, reasons = tried
        if memory is None:
            break
        fitting = stack_size(depth, Step(size, network, memory, given_batch or USEFUL_BATCH).fits)
        chosen = fitting or Decision(few, f"{few} neighbouring slices at once, the fewest that help")
        if fitting is not None:
            break
    planned = replace(network, stack=chosen.value)
    batch = _batch(size, planned, memory, given_batch)
    said = {"stack": chosen.reason, "batch_size": f"in stacks: {batch.reason}"}
    return size, planned, batch.value, {**reasons, **said}


@dataclass(frozen=True, slots=True)
class Step:
    """A training step over `batch` stacks of slices that `network` sees alone, and the card's memory."""

    size: Size
    network: NetworkPlan
    memory_bytes: int
    batch: int

    def fits(self, stack: int) -> bool:
        """Whether stacks of so many slices leave enough of the card free.

        Slices alone take no more than slices of stacks, and are counted already where `2d` was planned.
        """
        most, planned = USABLE_SHARE * self.memory_bytes, replace(self.network, stack=stack)
        alone = memory_of(self.size, self.network, self.batch * stack)
        return alone <= most and memory_of(self.size, planned, self.batch) <= most


def memory_of(size: Size, network: NetworkPlan, batch: int) -> int:
    """Bytes at the peak of a training step."""
    from balrsam_pipeline.network import step_memory  # imports torch: not for a plan for a CPU

    patch = (network.stack, *size.patch) if network.stack else size.patch
    return step_memory(network, patch, batch).total


def _batch(size: Size, network: NetworkPlan, memory: int | None, given: int | None) -> Decision[int]:
    if memory is None:
        patch = (network.stack, *size.patch)
        return cpu_volume_batch_size(patch) if given is None else Decision(given, "asked for")

    def count(batch: int) -> int:
        return memory_of(size, network, batch)

    if given is not None:
        return given_batch_size(given, count, memory)
    return gpu_batch_size(count, memory, max(USEFUL_BATCH, ADAPTED_LARGEST // network.stack))
