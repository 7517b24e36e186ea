"""The slices of a dataset as the size rule sees them: how large, in which format, how different from each
other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from balrsam_pipeline.plan import CaseFingerprint, Fingerprint
from planners.rules.configurations import is_two_dimensional

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
    """

    yx: tuple[int, int]
    frame_yx: tuple[float, float] = (1.0, 1.0)
    pictures: bool = False
    spread: float = 1.0

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
        return self.longest / max(case.cropped_shape_zyx[1:]) if self.mixed else 1.0


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
    depth, height, width = (int(size) for size in np.ceil(np.median(sizes, axis=0) - 1e-6))
    longest = sizes[:, 1:].max(axis=1)
    frame = np.percentile(sizes[:, 1:] / longest[:, None], NEARLY_ALL, axis=0)
    low, high = np.percentile(longest, (100 - NEARLY_ALL, NEARLY_ALL))
    return Slices(
        yx=(height, width) if slicing_axes == (0,) else (max(depth, height), max(height, width)),
        frame_yx=(float(frame[0]), float(frame[1])),
        pictures=is_two_dimensional(fingerprint),
        spread=float(high / low),
    )
