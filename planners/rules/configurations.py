"""Which configurations a dataset allows, and which one to train where the user names none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from balrsam_pipeline.plan import Fingerprint
from planners.rules import Decision

# largest over smallest target spacing; beyond, slices along the coarse axis look like another modality
NEAR_ISOTROPIC = 1.5
FAR_APART = 3.0  # nnU-Net's: beyond, slices are not interpolated from each other
ENOUGH_SLICES = 16  # along every axis (median), else two of the three orientations see slivers
VOLUME_SLICES = 4  # along every axis (median), for patches of volumes
CONTEXT_MM = 4.0  # how far a network trained from scratch looks to each side of a slice
MOST_CONTEXT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationDraft:
    """A configuration before its sizes are known; its network sees `volumes`, or `stacks` of slices, or
    slices alone."""

    slicing_axes: tuple[int, ...]
    context_slices: int
    volumes: bool = False
    stacks: bool = False


_WITHOUT_CONTEXT = {
    "2d": ConfigurationDraft(slicing_axes=(0,), context_slices=0),
    "triplanar": ConfigurationDraft(slicing_axes=(0, 1, 2), context_slices=0),
    "3d": ConfigurationDraft(slicing_axes=(0, 1, 2), context_slices=0, volumes=True),
}
_REASONS = {
    "2d": "each slice is segmented by itself",
    "triplanar": "one network for slices along all three axes, whose predictions are averaged: voxels are "
    "nearly as fine along each",
    "3d": "patches of volumes are segmented at once: what is above and below counts as what is beside",
}


def configurations(
    fingerprint: Fingerprint, spacing_mm: tuple[float, float, float], across: int, *, from_scratch: bool
) -> dict[str, Decision[ConfigurationDraft]]:
    """The configurations that suit the dataset: 2D images have `2d` alone, `triplanar` is for near-isotropic
    volumes, `3d` for all volumes of several slices: patches of volumes from scratch, else stacks of slices.

    Args:
        spacing_mm: the target spacing.
        across: the axis of `spacing_mm` across which slices are cut.
        from_scratch: whether nothing is adapted, so that any number of neighbouring slices may be fed along.
    """
    names = ["2d"]
    if not is_two_dimensional(fingerprint):
        names.append("2.5d")
        sizes = np.median([case.cropped_shape_zyx for case in fingerprint.cases], axis=0)
        if max(spacing_mm) <= NEAR_ISOTROPIC * min(spacing_mm) and sizes.min() >= ENOUGH_SLICES:
            names.append("triplanar")
        if sizes.min() >= VOLUME_SLICES:
            names.append("3d")
    planned = {name: Decision(kind, _REASONS[name]) for name, kind in _WITHOUT_CONTEXT.items()}
    if "2.5d" in names:
        apart_mm = float(np.median([case.spacing_mm[across] for case in fingerprint.cases]))
        context = context_slices(apart_mm, from_scratch=from_scratch)
        planned["2.5d"] = Decision(
            ConfigurationDraft(slicing_axes=(0,), context_slices=context.value), context.reason
        )
    if not from_scratch:
        planned["3d"] = stacks(spacing_mm, across)
    return {name: planned[name] for name in names}


def stacks(spacing_mm: tuple[float, float, float], across: int) -> Decision[ConfigurationDraft]:
    """The `3d` of an adapted network; slices that are far apart keep their distance.

    Args:
        spacing_mm: the target spacing.
        across: the axis of it across which slices are cut.
    """
    apart = spacing_mm[across] > FAR_APART * min(spacing_mm)
    return Decision(
        ConfigurationDraft(slicing_axes=(0,) if apart else (0, 1, 2), context_slices=0, stacks=True),
        "neighbouring slices are segmented at once: each as SAM sees it, and all of them knowing the others",
    )


def context_slices(spacing_mm: float, *, from_scratch: bool) -> Decision[int]:
    """How many neighbours on each side `2.5d` feeds along with a slice.

    Args:
        spacing_mm: from slice to slice, as cases have it: `2.5d` never resamples across slices.
    """
    if not from_scratch:
        return Decision(
            1,
            "one neighbour on each side is fed along, since SAM takes three channels: it tells where a "
            "structure goes on",
        )
    count = max(1, min(MOST_CONTEXT, round(CONTEXT_MM / spacing_mm)))
    few = "one neighbour on each side is" if count == 1 else f"{count} neighbours on each side are"
    return Decision(
        count,
        f"{few} fed along, {count * spacing_mm:.3g} mm: they tell where a structure goes on, and cost little",
    )


def default_configuration(available: tuple[str, ...]) -> str:
    """`2.5d` for volumes, `2d` for 2D images."""
    return "2.5d" if "2.5d" in available else available[0]


def companions(available: tuple[str, ...], *, from_scratch: bool, whole_volumes: bool) -> tuple[str, ...]:
    """What is worth training beside the default, where cores or GPUs would be idle, for the average of both.

    From scratch `3d` where its patches hold volumes whole, and `2d` elsewhere (docs/benchmarks.md): patches
    that show a part of a body learn too slowly. Of adapted networks it was not measured.
    """
    if not from_scratch or "2.5d" not in available:
        return ()
    return ("3d",) if whole_volumes and "3d" in available else ("2d",)


def is_two_dimensional(fingerprint: Fingerprint) -> bool:
    """Whether every image is one slice."""
    return flat_axis(fingerprint) is not None


def flat_axis(fingerprint: Fingerprint) -> int | None:
    """The raw axis across which every image is one slice; None of volumes."""
    axes = (axis for axis in range(3) if all(case.shape_zyx[axis] == 1 for case in fingerprint.cases))
    return next(axes, None)
