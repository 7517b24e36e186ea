"""What a plan must fit: the memory of the card it will train on, or a CPU."""

from __future__ import annotations

from dataclasses import dataclass

from balrsam_pipeline.hardware import GiB, find_accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """`gpu_memory_gb` is None for training on a CPU; `given` tells whether the user said so or it was
    detected."""

    gpu_memory_gb: float | None
    given: bool = False

    @property
    def memory_bytes(self) -> int | None:
        """The card's memory in bytes, None for a CPU."""
        return None if self.gpu_memory_gb is None else int(self.gpu_memory_gb * GiB)

    def __str__(self) -> str:
        if self.gpu_memory_gb is None:
            return (
                "training on a CPU, as asked" if self.given else "no GPU was found, so training is on a CPU"
            )
        return f"a GPU of {self.gpu_memory_gb:g} GB {'was asked for' if self.given else 'was found'}"


def detect_hardware(gpu_memory_gb: float | None) -> Hardware:
    """The hardware that the user names (0 is a CPU), else that of the first GPU here, else a CPU.

    Example:
        >>> print(detect_hardware(0))
        training on a CPU, as asked
        >>> detect_hardware(16).memory_bytes
        17179869184
    """
    if gpu_memory_gb is not None:
        return Hardware(gpu_memory_gb=gpu_memory_gb if gpu_memory_gb > 0 else None, given=True)
    found = find_accelerator()
    if found is None or found.kind != "cuda":
        # Apple's GPU trains the small networks that are planned for a CPU
        return Hardware(gpu_memory_gb=None)
    return Hardware(gpu_memory_gb=found.memory_gb)
