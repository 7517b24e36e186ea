"""Patches of volumes: the whole volume where it is small, else as much of it as the hardware allows; and over
how many levels the network goes down."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from balrsam_pipeline.plan import Fingerprint
from balrsam_pipeline.volume_plan import VolumePlan, Zyx
from planners.hardware import Hardware
from planners.rules import Decision, numbers
from planners.rules.slices import Order

# On a CPU a step has to be quick: two patches of this many voxels take about a second and a half of a core.
CPU_VOXELS = 2**17
GPU_VOXELS = 2**21  # 128 × 128 × 128, nnU-Net's on 11 GB
GPU_GB = 6.0  # below, as cards are sold,
SMALL_GPU_VOXELS = 2**19
# of the volumes' sides the percentile that a small volume's patch holds, but for a tenth: 41 voxels in 40, as
# one token more along an axis makes every step a fifth longer
NEARLY_ALL, COVER = 90.0, 0.9
NEAR = 2.0  # nnU-Net's: an axis is pooled, and convolved along, while its voxels are less than twice as long
LEAST_CELLS = 4  # nnU-Net's: cells that pooling leaves along an axis
TOKENS = 1024  # more are pooled once more
WIDTHS = (16, 32, 64, 96, 128, 128)  # of the levels on a CPU
GPU_WIDTHS = (32, 64, 128, 192, 256, 256)
LEVELS = 4  # strides 1, 2, 4, 8
LONGEST_MM_SIDE = 256  # voxels of a cube from which nnU-Net, too, starts to shrink


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """How a network goes down over a patch of `patch` (z, y, x) voxels."""

    patch: Zyx
    pooling: tuple[Zyx, ...]
    kernels: tuple[Zyx, ...]

    @property
    def voxels(self) -> int:
        """Of a patch."""
        return math.prod(self.patch)

    def plan(self, *, cpu: bool) -> VolumePlan:
        """The third dimension of the network."""
        widths = (WIDTHS if cpu else GPU_WIDTHS)[: len(self.kernels)]
        return VolumePlan(depth=self.patch[0], pooling=self.pooling, kernels=self.kernels, widths=widths)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volumes:
    """Sizes of volumes in voxels of the target spacing, axes in the planned order: the median, and what holds
    nearly all."""

    median: Zyx
    nearly_all: Zyx
    spacing_mm: tuple[float, float, float]


def volumes_of(fingerprint: Fingerprint, order: Order, spacing_mm: tuple[float, float, float]) -> Volumes:
    """Measure the volumes of a dataset.

    Args:
        order: of the raw axes that puts the slice axis first.
        spacing_mm: the target spacing, on the axes in that order.
    """
    axes = list(order)
    shapes = np.array([case.cropped_shape_zyx for case in fingerprint.cases], dtype=float)[:, axes]
    own_mm = np.array([case.spacing_mm for case in fingerprint.cases])[:, axes]
    sizes = np.rint(shapes * own_mm / np.array(spacing_mm))
    median, most = (np.ceil(np.percentile(sizes, share, axis=0)) for share in (50.0, NEARLY_ALL))
    return Volumes(median=_whole(median), nearly_all=_whole(most), spacing_mm=spacing_mm)


def most_voxels(hardware: Hardware) -> int:
    """The largest patch for a hardware."""
    if hardware.memory_bytes is None:
        return CPU_VOXELS
    return GPU_VOXELS if hardware.is_sold_with(GPU_GB) else SMALL_GPU_VOXELS


def volume_patch(volumes: Volumes, limit: int, fits: Callable[[Levels], bool]) -> Decision[Levels]:
    """The patch, and the levels over it.

    Where volumes are larger than the limit, the patch starts as a cube in mm (as much of the volume as that
    holds) and its side that shows most of the volume is shortened until it fits.

    Args:
        limit: voxels of a patch.
        fits: whether a step of useful size over a patch fits the hardware's memory.

    Source: nnU-Net v2, `ExperimentPlanner.get_plans_for_configuration`, for volumes that are not whole.
    """
    spacing = volumes.spacing_mm
    sides = [
        max(size, round(COVER * most)) for size, most in zip(volumes.median, volumes.nearly_all, strict=True)
    ]
    whole = _levels(_triple(sides), spacing)
    if whole.voxels <= limit and fits(whole):
        return Decision(
            whole,
            f"volumes of about {numbers(volumes.median)} voxels are seen whole in {numbers(whole.patch)}; "
            + _how_deep(whole),
        )
    cube_mm = LONGEST_MM_SIDE * math.prod(spacing) ** (1 / 3)
    sides = [min(size, round(cube_mm / step)) for size, step in zip(volumes.median, spacing, strict=True)]
    levels = _levels(_triple(sides), spacing)
    while levels.voxels > limit or not fits(levels):
        steps = [math.prod(step[axis] for step in levels.pooling) for axis in range(3)]
        shortable = [axis for axis in range(3) if levels.patch[axis] > steps[axis] * LEAST_CELLS]
        if not shortable:
            break
        longest = max(shortable, key=lambda axis: levels.patch[axis] / volumes.median[axis])
        sides = list(levels.patch)
        sides[longest] -= steps[longest]
        levels = _levels(_triple(sides), spacing)
    return Decision(
        levels,
        f"of volumes of about {numbers(volumes.median)} voxels patches of {numbers(levels.patch)}, each side "
        f"in proportion, are as large as the hardware allows; " + _how_deep(levels),
    )


def _levels(size: Zyx, spacing_mm: tuple[float, float, float]) -> Levels:
    """Pool along the axes whose voxels are not much longer than the others' until few tokens are left; the
    patch is `size` rounded up to whole cells of the coarsest level."""
    cells, current, kernel = list(size), list(spacing_mm), [1, 1, 1]
    pooling: list[Zyx] = []
    kernels: list[Zyx] = []
    while True:
        near = [step < NEAR * min(current) for step in current]
        kernel = [3 if close or side == 3 else 1 for close, side in zip(near, kernel, strict=True)]
        kernels.append(_triple(kernel))
        long_enough = [axis for axis in range(3) if cells[axis] >= 2 * LEAST_CELLS]
        finest = min((current[axis] for axis in long_enough), default=0.0)
        pooled = [2 if axis in long_enough and current[axis] < NEAR * finest else 1 for axis in range(3)]
        enough = len(kernels) >= LEVELS and math.prod(cells) <= TOKENS
        if enough or pooled == [1, 1, 1] or len(kernels) == len(WIDTHS):
            break
        pooling.append(_triple(pooled))
        cells = [-(-count // factor) for count, factor in zip(cells, pooled, strict=True)]
        current = [step * factor for step, factor in zip(current, pooled, strict=True)]
    strides = [math.prod(step[axis] for step in pooling) for axis in range(3)]
    patch = _triple([-(-side // stride) * stride for side, stride in zip(size, strides, strict=True)])
    return Levels(patch=patch, pooling=tuple(pooling), kernels=tuple(kernels))


def _how_deep(levels: Levels) -> str:
    strides = [math.prod(step[axis] for step in levels.pooling) for axis in range(3)]
    tokens = math.prod(side // stride for side, stride in zip(levels.patch, strides, strict=True))
    flat = levels.kernels[0] != (3, 3, 3)
    return (
        f"{len(levels.kernels)} levels lead down to {tokens} tokens of {numbers(_triple(strides))} voxels"
        + ("; while slices are far apart, convolutions and pooling stay within them" if flat else "")
    )


def _triple(values: list[int]) -> Zyx:
    return values[0], values[1], values[2]


def _whole(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Zyx:
    return _triple([max(1, int(value)) for value in values])
