"""Patch size and network input size: whole slices where the hardware allows, few tokens, no window padding.

SAM attends within windows of 14×14 tokens of 16 pixels: sizes whose token grid is no multiple of 14 pay for
padding above 224.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from planners.hardware import Hardware
from planners.rules.decision import Decision

SIDES = (112, 224, 448, 672, 896)
TOKEN = 16
UPSAMPLING = (4, 2, 1)  # whole factors, so that voxels fall on input pixels alike
# on a CPU a patch may be this much smaller than the slice along an axis, at the price of two overlapping
# tiles,
CPU_COVER = 0.85
CPU_SAVING = 1 / 3  # where that saves at least this share of the tokens along it,
CPU_FEW_TOKENS = 9  # unless the whole slice has no more than these: one tile is quicker to predict than four
SHRINK_TO = 0.85  # a slice may lose this much resolution for the sake of the next smaller side
# of the smallest side; a whole factor that fills less leaves too few tokens, so the slice is scaled to the
# side
FILLED = 0.75
THIN = 4.0  # input pixels; a label that would be thinner is kept at native resolution, in tiles
CPU_TILE = (
    128  # on a CPU many small tiles teach more in the same time than few large ones (docs/benchmarks.md)
)
COVER = (
    2.0  # slices up to this many times the largest side are shrunk rather than tiled, where labels are thick
)


_LARGEST_BY_GB = ((16.0, 896), (8.0, 672), (0.0, 448))


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """`patch` in voxels of the target spacing and `input` in network pixels, both (y, x)."""

    patch: tuple[int, int]
    input: tuple[int, int]

    @property
    def scale(self) -> float:
        """Input pixels a voxel along the longer side."""
        return max(self.input) / max(self.patch)


def largest_side(hardware: Hardware) -> int:
    """The longest input side worth planning: 224 on a CPU, where tokens are what training time goes into;
    more with memory."""
    if hardware.gpu_memory_gb is None:
        return 224
    return next(side for needed, side in _LARGEST_BY_GB if hardware.gpu_memory_gb >= needed)


def input_size(
    slice_yx: tuple[int, int], thickness_px: float, largest: int, *, cpu: bool = False
) -> Decision[Size]:
    """Choose patch and input size.

    Args:
        slice_yx: median slice in voxels of the target spacing.
        thickness_px: of the thinnest label, in such voxels.
        largest: the longest input side that the hardware allows.
        cpu: whether a CPU trains, for which small slices are not enlarged.
    """
    longest = max(slice_yx)
    seen = f"slices of about {slice_yx[0]} × {slice_yx[1]} voxels"
    if longest <= SIDES[0] or longest <= min(SIDES[1], largest):
        return _native(slice_yx, seen) if cpu else _small(slice_yx, seen)
    fitting = [side for side in SIDES if side >= SHRINK_TO * longest and side <= largest]
    if fitting:
        return _scaled(slice_yx, fitting[0], f"{seen} are seen whole")
    if longest <= COVER * largest and thickness_px * largest / longest >= THIN:
        return _scaled(
            slice_yx,
            largest,
            f"{seen} are seen whole but smaller, since the hardware ends at {largest} and labels are thick",
        )
    tile = CPU_TILE if cpu else largest
    patch = (min(tile, _up(slice_yx[0])), min(tile, _up(slice_yx[1])))
    return Decision(
        Size(patch=patch, input=patch),
        f"{seen} are more than the hardware's {largest} pixels a side, and the thinnest label "
        f"({thickness_px:.1f} voxels) would suffer "
        "from shrinking: tiles at full resolution"
        + (", small ones, since on a CPU more steps are worth more than pixels" if cpu else ""),
    )


def given_input_size(side: int, slice_yx: tuple[int, int]) -> Decision[Size]:
    """The size for an input side that the user names: whole slices where that costs at most half the
    resolution, else tiles."""
    reason = f"an input side of {side} was asked for"
    if max(slice_yx) <= COVER * side:
        return _scaled(slice_yx, side, reason)
    patch = (min(side, _up(slice_yx[0])), min(side, _up(slice_yx[1])))
    return Decision(Size(patch=patch, input=patch), reason)


def _small(slice_yx: tuple[int, int], seen: str) -> Decision[Size]:
    """Whole slices within one window of 14×14 tokens: no padding is paid, so both sides are just as long as
    needed."""
    side = SIDES[0] if max(slice_yx) <= SIDES[0] else SIDES[1]
    factor = next(factor for factor in UPSAMPLING if factor * max(slice_yx) <= side)
    if side == SIDES[0] and factor * max(slice_yx) < FILLED * side:
        return _scaled(slice_yx, side, f"{seen} are seen whole")
    input_y, input_x = (_up(factor * size) for size in slice_yx)
    enlarged = f", enlarged {factor} times, since tokens cover 16 pixels" if factor > 1 else ""
    return Decision(
        Size(patch=(input_y // factor, input_x // factor), input=(input_y, input_x)),
        f"{seen} are seen whole{enlarged}; few tokens make training quick",
    )


def _native(slice_yx: tuple[int, int], seen: str) -> Decision[Size]:
    """Small slices on a CPU: not enlarged, and without a row of tokens for their last few voxels where that
    saves much."""
    y, x = (_up(size) for size in slice_yx)
    if (y // TOKEN) * (x // TOKEN) > CPU_FEW_TOKENS:
        y, x = (_without_last_row(size) for size in slice_yx)
    whole = (
        "whole"
        if y >= slice_yx[0] and x >= slice_yx[1]
        else f"nearly whole, in overlapping tiles of {y} × {x}"
    )
    return Decision(
        Size(patch=(y, x), input=(y, x)),
        f"{seen} are seen {whole}, not enlarged: on a CPU few tokens make training quick, and more steps are "
        "worth more than pixels",
    )


def _without_last_row(size: int) -> int:
    whole, shorter = _up(size), _up(math.ceil(CPU_COVER * size))
    return shorter if whole - shorter >= CPU_SAVING * whole - 1e-6 else whole


def _scaled(slice_yx: tuple[int, int], side: int, reason: str) -> Decision[Size]:
    """Whole slices on a longer side of `side` pixels."""
    scale = side / max(slice_yx)
    sizes = [
        side if size == max(slice_yx) else min(side, _up(math.ceil(size * scale - 1e-6))) for size in slice_yx
    ]
    patch = [max(1, round(size / scale)) for size in sizes]
    padding = f"; a side of {side} pixels pays for no padded window" if side in SIDES else ""
    return Decision(
        Size(patch=(patch[0], patch[1]), input=(sizes[0], sizes[1])),
        f"{reason}, {scale:.2f} input pixels a voxel{padding}",
    )


def _up(size: int) -> int:
    return math.ceil(size / TOKEN) * TOKEN
