"""Which axis slices are cut across: the coarsest, or where all are alike the one that leaves the squarest
slices."""

from __future__ import annotations

from balrsam_pipeline.imageio.geometry import THICK_MM
from planners.rules import Decision

Order = tuple[int, int, int]


def transpose(spacing_mm: tuple[float, float, float], size_mm: tuple[float, float, float]) -> Decision[Order]:
    """The order of the raw axes that puts the slice axis first; the others keep theirs.

    Args:
        spacing_mm: target spacing on the raw axes.
        size_mm: how long a typical image is along them.

    Source: nnU-Net v2, `ExperimentPlanner.determine_transpose`, for the coarsest axis; it has no rule where
    there is none. There the slices nearest to a square are taken, as SAM's input is: a long body is cut
    across, a slab shows its face (docs/benchmarks.md).

    Example:
        >>> decision = transpose((1.0, 1.0, 5.0), (200.0, 200.0, 200.0))
        >>> decision.value
        (2, 0, 1)
        >>> print(decision.reason)
        slices are cut across axis x, whose spacing is the largest: the images are sharpest within them
    """
    if spacing_mm[0] == max(spacing_mm) and spacing_mm[0] >= THICK_MM:
        return Decision((0, 1, 2), "the images are single slices")
    if min(spacing_mm) == max(spacing_mm):
        squarest = min(range(3), key=lambda axis: _elongation(axis, size_mm))
        return Decision(
            _first(squarest),
            f"voxels are equally fine along all axes, so slices are cut across axis {'zyx'[squarest]}, which "
            "leaves them nearest to "
            "squares",
        )
    coarsest = spacing_mm.index(max(spacing_mm))
    return Decision(
        _first(coarsest),
        f"slices are cut across axis {'zyx'[coarsest]}, whose spacing is the largest: the images are "
        "sharpest within them",
    )


def _elongation(axis: int, size_mm: tuple[float, float, float]) -> float:
    """How many times longer than wide the slices across `axis` are."""
    _, *sides = (size_mm[index] for index in _first(axis))
    return max(sides) / min(sides)


def _first(axis: int) -> Order:
    second, third = (other for other in range(3) if other != axis)
    return axis, second, third


def transposed(values: tuple[float, float, float], order: Order) -> tuple[float, float, float]:
    """Values an axis, in the new order."""
    return values[order[0]], values[order[1]], values[order[2]]
