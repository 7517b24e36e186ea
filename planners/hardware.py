"""What a plan must fit: the memory of the card it will train on, or a CPU."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from balrsam_pipeline.hardware import GiB, find_accelerator, unused_gpu

LOG = logging.getLogger(__name__)

# of the memory that a card is sold with, torch reports at least as much: of 8 GB 7.6 to 7.9, of 16 GB 14.6
# (T4, which checks for errors) to 15.8, of 6 GB 5.7, of 48 GB 44.4 (L40S) to 47.5, of 80 GB 79.1
REPORTED_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """`gpu_memory_gb` is None for training on a CPU; `given` tells whether the user said so or it was
    detected, and `because` why there is a CPU alone though something speaks for more."""

    gpu_memory_gb: float | None
    given: bool = False
    because: str = ""

    @property
    def memory_bytes(self) -> int | None:
        """The card's memory in bytes, None for a CPU."""
        return None if self.gpu_memory_gb is None else int(self.gpu_memory_gb * GiB)

    def is_sold_with(self, gpu_memory_gb: float) -> bool:
        """Whether this is a card that is sold with so much memory, or more, of which less is reported; a CPU
        is one of 0 GB.

        Example:
            >>> Hardware(gpu_memory_gb=7.8).is_sold_with(8), Hardware(gpu_memory_gb=6).is_sold_with(8)
            (True, False)
        """
        return (self.gpu_memory_gb or 0.0) >= REPORTED_SHARE * gpu_memory_gb

    def __str__(self) -> str:
        if self.gpu_memory_gb is None:
            because = self.because or "no GPU was found"
            return "training on a CPU, as asked" if self.given else f"{because}, so training is on a CPU"
        return f"a GPU of {self.gpu_memory_gb:g} GB {'was asked for' if self.given else 'was found'}"


def detect_hardware(gpu_memory_gb: float | None, *, cpu: bool = False) -> Hardware:
    """The hardware that the user names (0 is a CPU), else that of the first GPU here, else a CPU; a GPU that
    torch cannot use is warned of.

    Args:
        cpu: training is to be on the CPU of this machine, whatever else it has.

    Example:
        >>> print(detect_hardware(0))
        training on a CPU, as asked
        >>> detect_hardware(16).memory_bytes
        17179869184
    """
    if gpu_memory_gb is not None:
        return Hardware(gpu_memory_gb=gpu_memory_gb if gpu_memory_gb > 0 else None, given=True)
    found = find_accelerator()
    if found is None:
        wrong, fix = unused_gpu()
        if wrong:
            LOG.warning("%s: planning for a CPU; fix: %s", wrong, fix)
        return Hardware(gpu_memory_gb=None, because=wrong)
    if found.kind != "cuda":
        # Apple's GPU trains the small networks that are planned for a CPU
        return Hardware(gpu_memory_gb=None)
    if cpu:
        return Hardware(gpu_memory_gb=None, because=f"the {found.name} here is left alone, as asked")
    return Hardware(gpu_memory_gb=found.memory_gb)
