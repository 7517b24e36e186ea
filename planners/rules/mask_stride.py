"""Mask stride: how fine masks are decoded, from the thinnest label."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from balrsam_pipeline.fingerprint import BACKGROUND
from balrsam_pipeline.plan import CaseFingerprint, Fingerprint
from planners.rules import Decision

Stride = Literal[1, 2, 4]
ACROSS = 4.0  # mask pixels that the thinnest label should span: below, its edge is all there is of it
FEW_PIXELS = 96  # of the longer side, up to which a pyramid is quick at full resolution
WIDER = (
    1.5  # times as wide is it there: hippocampi scored 0.868 in 8 core-minutes, 0.863 in 5 at the usual width
)
PYRAMID_ACROSS = 2.5  # the same for a pyramid, whose logits are enlarged smoothly
RARE = 0.05  # share of the cases that show the commonest label; a label in fewer decides nothing
COARSEST = 8.0  # voxels that a mask pixel may span: outlines of shrunk slices stay true to a few voxels
STRIDES: tuple[Stride, ...] = (4, 2, 1)


def label_thickness(
    fingerprint: Fingerprint,
    in_plane: tuple[int, int],
    spacing_mm: tuple[float, float],
    scale_of: Callable[[CaseFingerprint], float] = lambda _: 1.0,
) -> dict[str, float]:
    """The median thickness over cases of each label in voxels of the target spacing; labels that next to no
    case shows are passed over, since the rest would be seen as they need. Where labels fill most of most
    images, the background between them counts as one.

    Args:
        in_plane: the raw axes of a slice.
        spacing_mm: target spacing on those axes.
        scale_of: how many times a case is enlarged before it is compared (pictures of mixed sizes).
    """
    first, second = in_plane
    thickness: dict[str, list[float]] = {}
    for case in fingerprint.cases:
        finer = math.sqrt(case.spacing_mm[first] * case.spacing_mm[second] / (spacing_mm[0] * spacing_mm[1]))
        finer *= scale_of(case)
        for name, pixels in case.label_thickness_px.items():
            thickness.setdefault(name, []).append(pixels * finer)
    most = max(map(len, thickness.values()))
    least = dict.fromkeys(thickness, RARE * most) | {BACKGROUND: len(fingerprint.cases) / 2}
    return {
        name: float(np.median(values)) for name, values in thickness.items() if len(values) >= least[name]
    }


def pyramid_stride(
    name: str, thickness_px: float, scale: float, input_yx: tuple[int, int]
) -> Decision[Stride]:
    """The finest maps of a pyramid: half the input's, unless the thinnest label needs all of it, or there is
    little of it.

    Twice as coarse is twice as quick; its logits are enlarged linearly, so that outlines stay smooth.

    Args:
        name: of the thinnest label.
        thickness_px: its thickness in voxels of the target spacing.
        scale: input pixels per voxel.
        input_yx: the input's size.
    """
    if max(input_yx) <= FEW_PIXELS:
        return Decision(
            1, f"of {input_yx[0]} × {input_yx[1]} pixels all are looked at, there are few of them"
        )
    across = thickness_px * scale / 2
    if across >= PYRAMID_ACROSS:
        return Decision(
            2, f"the thinnest label, {name}, spans {across:.1f} mask pixels at half the input's resolution"
        )
    return Decision(
        1,
        f"the thinnest label, {name}, would span {across:.1f} mask pixels at half the input's resolution, so "
        "masks are as fine as the input",
    )


def pyramid_width(usual: int, input_yx: tuple[int, int]) -> int:
    """Channels of a pyramid at stride 2: more where slices are small, so that steps stay quick."""
    return round(WIDER * usual) if max(input_yx) <= FEW_PIXELS else usual


def mask_stride(name: str, thickness_px: float, scale: float) -> Decision[Stride]:
    """The coarsest stride at which the thinnest label still spans `ACROSS` mask pixels, but none finer than
    voxels.

    Args:
        name: of the thinnest label.
        thickness_px: its thickness in voxels of the target spacing.
        scale: input pixels per voxel.
    """
    limit = ""
    for stride in STRIDES:
        if stride > 1 and stride > COARSEST * scale:
            limit = f", and at a coarser one these would span more than {COARSEST:g} voxels"
            continue
        if thickness_px * scale / stride >= ACROSS:
            return Decision(
                stride,
                f"the thinnest label, {name}, is {thickness_px:.1f} voxels thick: at stride {stride} it "
                f"still spans {thickness_px * scale / stride:.1f} mask pixels{limit}",
            )
        limit = ""  # the label decides
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
