"""Which configurations a dataset allows, and which one to train where the user names none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from balrsam_pipeline.plan import Fingerprint
from planners.rules.decision import Decision

NEAR_ISOTROPIC = 1.5  # largest over smallest target spacing; beyond, slices along the coarse axis look like another modality
ENOUGH_SLICES = 16  # along every axis (median), else two of the three orientations see slivers


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A configuration before its sizes are known."""

    slicing_axes: tuple[int, ...]
    context_slices: int


KINDS = {
    "2d": Kind(slicing_axes=(0,), context_slices=0),
    "2.5d": Kind(slicing_axes=(0,), context_slices=1),
    "triplanar": Kind(slicing_axes=(0, 1, 2), context_slices=0),
}
_REASONS = {
    "2d": "each slice is segmented by itself",
    "2.5d": "one neighbour on each side is fed along: it tells where a structure goes on, and more neighbours add little",
    "triplanar": "one network for slices along all three axes, whose predictions are averaged: voxels are nearly as fine along each",
}


def configurations(fingerprint: Fingerprint, spacing_mm: tuple[float, float, float]) -> dict[str, Decision[Kind]]:
    """The configurations that suit the dataset: 2D images have `2d` alone, `triplanar` is for near-isotropic volumes.

    Args:
        spacing_mm: the target spacing.
    """
    names = ["2d"]
    if not is_two_dimensional(fingerprint):
        names.append("2.5d")
        sizes = np.median([case.cropped_shape_zyx for case in fingerprint.cases], axis=0)
        if max(spacing_mm) <= NEAR_ISOTROPIC * min(spacing_mm) and sizes.min() >= ENOUGH_SLICES:
            names.append("triplanar")
    return {name: Decision(KINDS[name], _REASONS[name]) for name in names}


def default_configuration(available: tuple[str, ...]) -> str:
    """`2.5d` for volumes, `2d` for 2D images."""
    return "2.5d" if "2.5d" in available else available[0]


def is_two_dimensional(fingerprint: Fingerprint) -> bool:
    """Whether every image is one slice."""
    return all(case.shape_zyx[0] == 1 for case in fingerprint.cases)
