"""Activation checkpointing: whether the global-attention blocks compute their activations again in
backward."""

from __future__ import annotations

from balrsam_pipeline.network.presets import GLOBAL_BLOCKS
from planners.rules.decision import Decision

TOKENS = (
    1024  # of an input of 512×512: from there on memory, not arithmetic, is what limits a batch on a card
)
TOKEN_AREA = 16 * 16


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
