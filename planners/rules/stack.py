"""Stacks: how many neighbouring slices an adapted network sees at once."""

from __future__ import annotations

from collections.abc import Callable

from planners.rules import Decision

COUNTS = (4, 8, 12, 16, 24, 32)  # more make steps long, and tell little more of a slice
LEAST = 8  # fewer say little more than 2.5d's three, unless there are no more


def counts_for(depth: int) -> tuple[int, ...]:
    """Numbers of slices worth trying, the fewest first: up to the first that holds a whole volume.

    Args:
        depth: slices of a typical volume.

    >>> counts_for(10), counts_for(5), counts_for(300)
    ((8, 12), (8,), (8, 12, 16, 24, 32))
    """
    most = next((count for count in COUNTS if count >= depth), COUNTS[-1])
    least = min(LEAST, most)
    return tuple(count for count in COUNTS if least <= count <= most)


def stack_size(depth: int, fits: Callable[[int], bool]) -> Decision[int] | None:
    """The most slices of which two stacks fit the memory; None where not even the fewest do.

    Args:
        depth: slices of a typical volume.
        fits: slices of a stack -> whether a useful step over such stacks fits.
    """
    counts = counts_for(depth)
    count = next((count for count in reversed(counts) if fits(count)), None)
    if count is None:
        return None
    if count == counts[-1]:
        why = f"all of a volume of about {depth}" if count >= depth else "further ones tell little"
    else:
        why = f"as many of about {depth} as fit the memory"
    return Decision(count, f"{count} neighbouring slices at once, {why}")
