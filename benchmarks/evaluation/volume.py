"""A CT-size pair of label maps: thirteen organs, a clean prediction and one whose every border voxel is drawn
by lot."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

LabelMap = npt.NDArray[np.uint8]
SHAPE_ZYX = (200, 512, 512)
SPACING_MM = (2.0, 0.8, 0.8)
# centre and half-axes as shares of the volume: a liver, lungs, spleen, kidneys … down to an adrenal gland
ORGANS = (
    ((0.55, 0.45, 0.33), (0.22, 0.16, 0.17)),
    ((0.25, 0.42, 0.30), (0.20, 0.15, 0.10)),
    ((0.25, 0.42, 0.70), (0.20, 0.15, 0.10)),
    ((0.60, 0.52, 0.72), (0.10, 0.09, 0.06)),
    ((0.72, 0.62, 0.38), (0.10, 0.05, 0.05)),
    ((0.72, 0.62, 0.62), (0.10, 0.05, 0.05)),
    ((0.62, 0.38, 0.58), (0.09, 0.08, 0.08)),
    ((0.70, 0.48, 0.50), (0.04, 0.03, 0.09)),
    ((0.60, 0.58, 0.50), (0.36, 0.02, 0.02)),
    ((0.60, 0.52, 0.47), (0.30, 0.02, 0.02)),
    ((0.68, 0.36, 0.42), (0.05, 0.04, 0.03)),
    ((0.62, 0.57, 0.41), (0.03, 0.02, 0.02)),
    ((0.62, 0.57, 0.59), (0.03, 0.02, 0.02)),
)


def reference_map() -> LabelMap:
    """The reference (z, y, x)."""
    label = np.zeros(SHAPE_ZYX, dtype=np.uint8)
    z, y, x = np.ogrid[: SHAPE_ZYX[0], : SHAPE_ZYX[1], : SHAPE_ZYX[2]]
    for value, (centre, radius) in enumerate(ORGANS, 1):
        distance = sum(
            ((axis / length - middle) / half) ** 2
            for axis, length, middle, half in zip((z, y, x), SHAPE_ZYX, centre, radius, strict=True)
        )
        label[(distance < 1) & (label == 0)] = value
    return label


def clean_prediction(reference: LabelMap) -> LabelMap:
    """The reference moved by two pixels and one slice: what a good model is off by."""
    return np.roll(reference, (1, 2), axis=(0, 1))


def far_prediction(reference: LabelMap) -> LabelMap:
    """The reference moved by eight pixels and four slices: a failure, of which most borders are far off."""
    return np.roll(reference, (4, 8, 8), axis=(0, 1, 2))


def noisy_prediction(reference: LabelMap) -> LabelMap:
    """The reference with every voxel on either side of a border drawn by lot from its neighbourhood."""
    rng = np.random.default_rng(0)
    label = reference.copy()
    band = ndimage.grey_dilation(reference, size=(3, 3, 3)) != ndimage.grey_erosion(reference, size=(3, 3, 3))
    grown = ndimage.grey_dilation(reference, size=(3, 3, 3))
    lot = rng.random(int(band.sum())) < 0.5
    label[band] = np.where(lot, grown[band], 0)
    return label
