"""Mask stride: how fine masks are decoded, from the thinnest label."""

from __future__ import annotations

from typing import Literal

import numpy as np

from balrsam_pipeline.plan import Fingerprint
from planners.rules.decision import Decision

Stride = Literal[1, 2, 4]
ACROSS = 4.0  # mask pixels that the thinnest label should span: below, its edge is all there is of it
STRIDES: tuple[Stride, ...] = (4, 2, 1)


def thinnest_label(fingerprint: Fingerprint) -> tuple[str, float]:
    """The label whose median thickness over cases, in raw in-plane voxels, is the least."""
    names = list(fingerprint.cases[0].label_voxels)
    medians = {}
    for name in names:
        values = [case.label_thickness_px[name] for case in fingerprint.cases if name in case.label_thickness_px]
        if values:
            medians[name] = float(np.median(values))
    name = min(medians, key=lambda label: medians[label])
    return name, medians[name]


def mask_stride(name: str, thickness_px: float, scale: float) -> Decision[Stride]:
    """The coarsest stride at which the thinnest label still spans `ACROSS` mask pixels, but none finer than voxels.

    Args:
        name: of the thinnest label.
        thickness_px: its thickness in voxels of the target spacing.
        scale: input pixels a voxel.
    """
    for stride in STRIDES:
        if thickness_px * scale / stride >= ACROSS:
            return Decision(stride, f"the thinnest label, {name}, is {thickness_px:.1f} voxels thick: at stride {stride} it still spans 4 mask pixels")
        if stride <= scale:
            return Decision(stride, f"the thinnest label, {name}, is only {thickness_px:.1f} voxels thick, so masks are as fine as voxels")
    return Decision(1, f"the thinnest label, {name}, is only {thickness_px:.1f} voxels thick, so masks are as fine as the input")
