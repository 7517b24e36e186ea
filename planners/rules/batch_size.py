"""What memory holds: the batch size (on a CPU by the work that a step does, on a GPU by counted memory at the
step's peak), and whether activations are kept or computed again in backward."""

from __future__ import annotations

import bisect
from collections.abc import Callable

from balrsam_pipeline.hardware import USABLE_SHARE
from balrsam_pipeline.network import GLOBAL_BLOCKS
from planners.rules import Decision

# pixels of a step on a CPU. A pyramid is quick, and steps are worth more than samples: hearts in 2.5
# core-minutes scored 0.679 in batches of 2, 0.597 in batches of 4 (then of equal speed per sample)
CPU_PIXELS = 131_072
SMALLEST, CPU_LARGEST, LARGEST = 2, 8, 64
# a large frozen encoder takes time in proportion to the batch, so an adapted network is shown as many samples
# whatever that is, and large batches mean few steps. SAMed adapts in batches of 12, MedSAM of 8 a card
ADAPTED_LARGEST = 24
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


def gpu_batch_size(memory_of: MemoryModel, memory_bytes: int, largest: int = LARGEST) -> Decision[int]:
    """The largest batch whose step stays within the limit; 1 where none does.

    Args:
        memory_of: batch size -> bytes at the peak of a training step, growing.
        largest: beyond which a batch brings nothing.
    """
    sizes = range(1, largest + 1)
    fitting = bisect.bisect_right(sizes, USABLE_SHARE * memory_bytes, key=memory_of)
    size = max(1, fitting)
    return Decision(
        size,
        f"counted, a training step with {size} takes {shares(memory_of(size), memory_bytes)} at its peak"
        + (f"; more than {largest} brings nothing" if size == largest else "")
        + ("" if fitting else ": too much, training will work through it in pieces"),
    )


def given_batch_size(size: int, memory_of: MemoryModel, memory_bytes: int) -> Decision[int]:
    """A batch that the user names, with what it takes of a card."""
    needed = memory_of(size)
    pieces = "" if needed <= USABLE_SHARE * memory_bytes else ", so training may work through it in pieces"
    return Decision(size, f"asked for; counted, it takes {shares(needed, memory_bytes)}{pieces}")


def shares(needed: int, memory_bytes: int) -> str:
    """Bytes of a card in words.

    >>> shares(3 * 2**30, 4 * 2**30)
    '3.0 of 4.0 GB (75 %)'
    """
    return f"{needed / 2**30:.1f} of {memory_bytes / 2**30:.1f} GB ({100 * needed / memory_bytes:.0f} %)"


def checkpointed_blocks(input_yx: tuple[int, int], *, from_scratch: bool, every: int = 0) -> Decision[int]:
    """The number of blocks to checkpoint, global blocks first.

    Args:
        input_yx: network pixels.
        from_scratch: whether the small network is trained from scratch; it keeps little.
        every: the number of blocks, where memory is too short for less than all of them.
    """
    tokens = input_yx[0] * input_yx[1] // TOKEN_AREA
    if every:
        return Decision(
            every,
            f"all {every}: with {tokens} image tokens no useful batch would fit otherwise; each block is "
            "computed again in backward, which costs a third of the time",
        )
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
