"""Which axis slices are cut across: the coarsest."""

from __future__ import annotations

from balrsam_pipeline.imageio.geometry import THICK_MM
from planners.rules.decision import Decision

Order = tuple[int, int, int]


def transpose(spacing_mm: tuple[float, float, float]) -> Decision[Order]:
    """The order of the raw axes that puts the slice axis first; the others keep theirs.

    Source: nnU-Net v2, `ExperimentPlanner.determine_transpose`.
    """
    coarsest = spacing_mm.index(max(spacing_mm))
    first, second = (axis for axis in range(3) if axis != coarsest)
    if coarsest == 0 and spacing_mm[0] >= THICK_MM:
        return Decision((0, 1, 2), "the images are single slices")
    if min(spacing_mm) == max(spacing_mm):
        return Decision((0, 1, 2), "voxels are equally fine along all axes, so slices are those that the files store")
    return Decision(
        (coarsest, first, second),
        f"slices are cut across axis {'zyx'[coarsest]}, whose spacing is the largest: the images are sharpest within them",
    )


def transposed(values: tuple[float, float, float], order: Order) -> tuple[float, float, float]:
    """Values an axis, in the new order."""
    return values[order[0]], values[order[1]], values[order[2]]
