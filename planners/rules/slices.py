"""Slices: across which axis they are cut (the coarsest; where all are alike what leaves the squarest ones),
and how large, in which format and how different from each other they then are."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.plan import CaseFingerprint, Fingerprint
from planners.rules import Decision
from planners.rules.configurations import is_two_dimensional

Order = tuple[int, int, int]
ALIKE = 1.05  # spacings that differ by no more than this factor are equally fine: headers round
MIXED = 1.2  # pictures whose longest sides differ by more than this factor have no common scale
NEARLY_ALL = 90.0  # percentile of images that a frame is made for; the few others are fitted all the same


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """What the rule needs to know of a dataset's slices.

    Attributes:
        yx: the median slice in voxels of the target spacing.
        frame_yx: how much of a square around it each side takes, 0 to 1, in (nearly) every image: (1, 0.7)
            for portraits, (1, 1) where portraits and landscapes are mixed.
        pictures: 2D images, which have no physical size in common.
        spread: the 90th percentile of the longest sides over the 10th.
        largest_yx: the largest slice, in voxels of the target spacing.
        scaled: whether structures are larger in larger pictures, as those of one camera and another are,
            and not as large, as cells under one microscope.
    """

    yx: tuple[int, int]
    frame_yx: tuple[float, float] = (1.0, 1.0)
    pictures: bool = False
    spread: float = 1.0
    largest_yx: tuple[int, int] = (0, 0)
    scaled: bool = False

    @property
    def longest(self) -> int:
        """The longer side of the median slice."""
        return max(self.yx)

    @property
    def mixed(self) -> bool:
        """Whether these are pictures of sizes too different for one scale."""
        return self.pictures and self.spread > MIXED

    def __str__(self) -> str:
        what = "pictures" if self.pictures else "slices"
        unit = "pixels" if self.pictures else "voxels"
        return f"{what} of about {self.yx[0]} × {self.yx[1]} {unit}"

    def picture_scale(self, case: CaseFingerprint) -> float:
        """How many times an image is to be enlarged to have the median's size; 1 unless sizes are mixed."""
        return self.longest / max(case.cropped_shape_zyx) if self.mixed else 1.0


def slices_of(
    fingerprint: Fingerprint,
    order: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    slicing_axes: tuple[int, ...],
) -> Slices:
    """Measure the slices of a dataset.

    Args:
        order: of the raw axes that puts the slice axis first.
        spacing_mm: the target spacing, on the axes in that order.
        slicing_axes: axes, in that order, across which slices are cut; of several, the slice that holds those
            of each orientation is measured.
    """
    axes = list(order)
    shapes = np.array([case.cropped_shape_zyx for case in fingerprint.cases], dtype=float)[:, axes]
    own_mm = np.array([case.spacing_mm for case in fingerprint.cases])[:, axes]
    sizes = shapes * own_mm / np.array(spacing_mm)
    median, largest = np.median(sizes, axis=0), sizes.max(axis=0)
    longest = sizes[:, 1:].max(axis=1)
    frame = np.percentile(sizes[:, 1:] / longest[:, None], NEARLY_ALL, axis=0)
    low, high = np.percentile(longest, (100 - NEARLY_ALL, NEARLY_ALL))
    return Slices(
        yx=_in_plane(median, slicing_axes),
        frame_yx=(float(frame[0]), float(frame[1])),
        pictures=is_two_dimensional(fingerprint),
        spread=float(high / low),
        largest_yx=_in_plane(largest, slicing_axes),
        scaled=_scaled(fingerprint),
    )


def _scaled(fingerprint: Fingerprint) -> bool:
    """Whether labels differ less in thickness between pictures as shares of them than in pixels."""
    pixels: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    for case in fingerprint.cases:
        for name, thickness in case.label_thickness_px.items():
            pixels.setdefault(name, []).append(math.log(thickness))
            shares.setdefault(name, []).append(math.log(thickness / max(case.cropped_shape_zyx)))
    spreads = [sum(float(np.std(values)) for values in found.values()) for found in (pixels, shares)]
    return spreads[1] < spreads[0]


def slice_count(fingerprint: Fingerprint, slicing_axes: tuple[int, ...], order: tuple[int, int, int]) -> int:
    """Slices of all cases, across all axes along which they are cut.

    Args:
        slicing_axes: in the order `order` of the raw axes.
    """
    return sum(case.cropped_shape_zyx[order[axis]] for case in fingerprint.cases for axis in slicing_axes)


def typical_size_mm(fingerprint: Fingerprint) -> tuple[float, float, float]:
    """The median size of an image along each raw axis, in mm."""
    sizes = [np.array(case.cropped_shape_zyx) * np.array(case.spacing_mm) for case in fingerprint.cases]
    z, y, x = (float(size) for size in np.median(sizes, axis=0))
    return z, y, x


def _in_plane(sizes: npt.NDArray[np.float64], slicing_axes: tuple[int, ...]) -> tuple[int, int]:
    """The slice of a volume, or what holds its slices of every orientation, in whole voxels."""
    depth, height, width = (int(size) for size in np.ceil(sizes - 1e-6))
    return (height, width) if slicing_axes == (0,) else (max(depth, height), max(height, width))


def transpose(
    spacing_mm: tuple[float, float, float], size_mm: tuple[float, float, float], flat: int | None = None
) -> Decision[Order]:
    """The order of the raw axes that puts the slice axis first; the others keep theirs.

    Args:
        spacing_mm: target spacing on the raw axes.
        size_mm: how long a typical image is along them.
        flat: the axis across which every image is a single slice; None of volumes.

    Source: nnU-Net v2, `ExperimentPlanner.determine_transpose`, for the coarsest axis; it has no rule where
    there is none. There the slices nearest to a square are taken, as SAM's input is: a long body is cut
    across, a slab shows its largest side (docs/benchmarks.md).

    Example:
        >>> decision = transpose((1.0, 1.0, 5.0), (200.0, 200.0, 200.0))
        >>> decision.value
        (2, 0, 1)
        >>> print(decision.reason)
        slices are cut across axis x, whose spacing is the largest: the images are sharpest within them
    """
    if flat is not None:
        return Decision(_first(flat), "the images are single slices")
    if max(spacing_mm) <= ALIKE * min(spacing_mm):
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
    """One value per axis, in the new order."""
    return values[order[0]], values[order[1]], values[order[2]]
