"""What a network has besides where it sees patches of volumes instead of slices."""

from __future__ import annotations

from dataclasses import dataclass

from balrsam_pipeline.plan_checks import require

Zyx = tuple[int, int, int]
LARGEST_DEPTH, LARGEST_WIDTH, MOST_LEVELS = 4096, 2**12, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlan:
    """The third dimension of a network.

    Attributes:
        depth: slices of a patch; with the network's `input_size` it is the patch's shape (z, y, x).
        pooling: by which factors (z, y, x) each level is coarser than the one before.
        kernels: sides (z, y, x) of each level's convolutions, one more than `pooling`: 1 along an axis whose
            voxels are still much longer than the others'.
        widths: channels of each level.
    """

    depth: int
    pooling: tuple[Zyx, ...]
    kernels: tuple[Zyx, ...]
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        levels = len(self.widths)
        factors = all(factor in (1, 2) for step in self.pooling for factor in step)
        sides = all(side in (1, 3) for kernel in self.kernels for side in kernel)
        widths = all(0 < width <= LARGEST_WIDTH for width in self.widths)
        require("volume.depth", 0 < self.depth <= LARGEST_DEPTH, self.depth, f"from 1 to {LARGEST_DEPTH}")
        require("volume.widths", 1 <= levels <= MOST_LEVELS, self.widths, f"1 to {MOST_LEVELS} levels")
        require("volume.widths", widths, self.widths, f"channels from 1 to {LARGEST_WIDTH}")
        require("volume.pooling", len(self.pooling) == levels - 1, self.pooling, "one less than widths")
        require("volume.pooling", factors, self.pooling, "factors 1 and 2")
        require("volume.kernels", len(self.kernels) == levels and sides, self.kernels, "1 or 3, each level")

    @property
    def strides(self) -> tuple[Zyx, ...]:
        """How many voxels (z, y, x) a cell of each level covers."""
        strides = [(1, 1, 1)]
        for z, y, x in self.pooling:
            before = strides[-1]
            strides.append((before[0] * z, before[1] * y, before[2] * x))
        return tuple(strides)
