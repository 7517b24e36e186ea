"""Mask stride: how fine masks are decoded, from the thinnest label."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from balrsam_pipeline.plan import Fingerprint
from planners.rules.decision import Decision

Stride = Literal[1, 2, 4]
ACROSS = 4.0  # mask pixels that the thinnest label should span: below, its edge is all there is of it
STRIDES: tuple[Stride, ...] = (4, 2, 1)


def thinnest_label(
    fingerprint: Fingerprint, in_plane: tuple[int, int], spacing_mm: tuple[float, float]
) -> tuple[str, float]:
    """The label whose median thickness over cases is the least, and that thickness in voxels of the target
    spacing.

    Args:
        in_plane: the raw axes of a slice.
        spacing_mm: target spacing on those axes.
    """
    first, second = in_plane
    thickness: dict[str, list[float]] = {}
    for case in fingerprint.cases:
        finer = math.sqrt(case.spacing_mm[first] * case.spacing_mm[second] / (spacing_mm[0] * spacing_mm[1]))
        for name, pixels in case.label_thickness_px.items():
            thickness.setdefault(name, []).append(pixels * finer)
    medians = {name: float(np.median(values)) for name, values in thickness.items()}
    thinnest = min(medians, key=lambda name: medians[name])
    return thinnest, medians[thinnest]


def mask_stride(name: str, thickness_px: float, scale: float) -> Decision[Stride]:
    """The coarsest stride at which the thinnest label still spans `ACROSS` mask pixels, but none finer than
    voxels.

    Args:
        name: of the thinnest label.
        thickness_px: its thickness in voxels of the target spacing.
        scale: input pixels a voxel.
    """
    for stride in STRIDES:
        if thickness_px * scale / stride >= ACROSS:
            return Decision(
                stride,
                f"the thinnest label, {name}, is {thickness_px:.1f} voxels thick: at stride {stride} it "
                "still spans 4 mask pixels",
            )
        if stride <= scale:
            return Decision(
                stride,
                f"the thinnest label, {name}, is only {thickness_px:.1f} voxels thick, so masks are as fine "
                "as voxels",
            )
    return Decision(
        1,
        f"the thinnest label, {name}, is only {thickness_px:.1f} voxels thick, so masks are as fine as the "
        "input",
    )
