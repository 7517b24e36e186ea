"""What memory holds: the batch size (on a CPU by the work that a step does, on a GPU by counted memory), and
whether activations are kept or computed again in backward."""

from __future__ import annotations

from collections.abc import Callable

from balrsam_pipeline.network import GLOBAL_BLOCKS
from planners.rules import Decision

# pixels of a step on a CPU. A pyramid is quick, and steps are worth more than samples: hearts in 2.5
# core-minutes scored 0.679 in batches of 2, 0.597 in batches of 4 (then of equal speed per sample)
CPU_PIXELS = 131_072
SMALLEST, CPU_LARGEST, LARGEST = 2, 16, 64
HEADROOM = 0.85  # of a card's memory: the rest is for fragmentation, libraries and the desktop
TOKENS = (
    1024  # of an input of 512×512: from there on memory, not arithmetic, is what limits a batch on a card
)
TOKEN_AREA = 16 * 16

MemoryModel = Callable[[int], int]


def cpu_batch_size(input_yx: tuple[int, int]) -> Decision[int]:
    """As many slices as make a step of useful length on a CPU."""
    size = max(SMALLEST, min(CPU_LARGEST, round(CPU_PIXELS / (input_yx[0] * input_yx[1]))))
    return Decision(
        size,
        f"on a CPU time is what is short: {size} slices of {input_yx[0]} × {input_yx[1]} pixels make a quick "
        "step",
    )


def cpu_volume_batch_size(patch_zyx: tuple[int, int, int]) -> Decision[int]:
    """Two patches of volumes, the fewest that an average over a batch is worth."""
    size = " × ".join(map(str, patch_zyx))
    return Decision(
        SMALLEST, f"on a CPU time is what is short: {SMALLEST} patches of {size} voxels make a quick step"
    )


def gpu_batch_size(
    memory_of: MemoryModel, memory_bytes: int, what: str = "slice", largest: int = LARGEST
) -> Decision[int]:
    """The largest batch whose counted memory leaves headroom.

    Args:
        memory_of: batch size -> bytes that a training step needs, affine in the batch size.
        what: a sample is called, in the reason.
        largest: beyond which a batch brings nothing.
    """
    one, two = memory_of(1), memory_of(2)
    target = HEADROOM * memory_bytes
    size = int((target - one) // max(two - one, 1)) + 1
    size = max(1, min(largest, size))
    needed = one + (size - 1) * (two - one)
    return Decision(
        size,
        f"counted, a training step with {size} needs {needed / 2**30:.1f} GB (each {what} "
        f"{(two - one) / 2**30:.2f} GB) "
        f"of {memory_bytes / 2**30:.0f} GB, {1 - HEADROOM:.0%} kept free"
        + (f"; more than {largest} brings nothing" if size == largest else ""),
    )


def checkpointed_blocks(input_yx: tuple[int, int], *, from_scratch: bool) -> Decision[int]:
    """The number of blocks to checkpoint, global blocks first.

    Args:
        input_yx: network pixels.
        from_scratch: whether the small network is trained from scratch; it keeps little.
    """
    tokens = input_yx[0] * input_yx[1] // TOKEN_AREA
    if from_scratch or tokens < TOKENS:
        return Decision(
            0,
            f"none: with {tokens} image tokens activations are small, and computing them twice would cost "
            "time",
        )
    return Decision(
        GLOBAL_BLOCKS,
        f"with {tokens} image tokens the {GLOBAL_BLOCKS} global-attention blocks keep the most: they are "
        "computed again in backward",
    )
