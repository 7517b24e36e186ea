"""Normalisation of each channel, by its name, and whether it looks at nonzero voxels alone."""

from __future__ import annotations

import math

import numpy as np

from balrsam_pipeline.plan import Fingerprint, Normalization
from planners.rules import Decision

SCHEME_OF: dict[str, Normalization] = {  # nnU-Net's names; anything else is z-scored
    "ct": "ct",
    "nonorm": "none",
    "zscore": "z_score",
    "rescale_to_0_1": "rescale_to_0_1",
    "rgb_to_0_1": "rgb_to_0_1",
}
MASK_BELOW = 3 / 4  # nnU-Net's: the crop removed more than a quarter
_WORDS: dict[Normalization, str] = {
    "ct": "Hounsfield units mean the same in every scan: clipped to the dataset's foreground percentiles 0.5 "
    "and 99.5, then its z-score",
    "z_score": "intensities have no fixed scale, so each case by its own mean and standard deviation",
    "rgb_to_0_1": "colours divided by 255",
    "rescale_to_0_1": "each case to the range 0 to 1",
    "none": "left as it is, as its name asks",
}


def normalization(channel_names: tuple[str, ...]) -> Decision[tuple[Normalization, ...]]:
    """One scheme per channel.

    Source: nnU-Net v2, `map_channel_name_to_normalization.py`.
    """
    schemes = tuple(SCHEME_OF.get(name.casefold(), "z_score") for name in channel_names)
    reasons = []
    for scheme in dict.fromkeys(schemes):
        names = [name for name, own in zip(channel_names, schemes, strict=True) if own == scheme]
        reasons.append(f"{', '.join(names)}: {_WORDS[scheme]}")
    return Decision(schemes, "; ".join(reasons))


def normalize_inside_mask(
    fingerprint: Fingerprint, schemes: tuple[Normalization, ...]
) -> Decision[tuple[bool, ...]]:
    """Whether z-scores are taken over nonzero voxels alone: if cropping to them leaves less than three
    quarters of the image.

    Source: nnU-Net v2, `determine_normalization_scheme_and_whether_mask_is_used_for_norm`.
    """
    kept = [math.prod(case.cropped_shape_zyx) / math.prod(case.shape_zyx) for case in fingerprint.cases]
    share = float(np.median(kept))
    masked = share < MASK_BELOW
    values = tuple(masked and scheme == "z_score" for scheme in schemes)
    if not any(values):
        return Decision(
            values, f"over all voxels: the box of nonzero voxels is {share:.0%} of the image (median)"
        )
    return Decision(
        values,
        f"over nonzero voxels: the images stand in a black frame, their box is {share:.0%} of the image "
        "(median)",
    )
