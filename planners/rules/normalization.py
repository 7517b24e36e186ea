"""Normalisation of each channel, by its name, and whether it looks at nonzero voxels alone."""

from __future__ import annotations

import math

import numpy as np

from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.plan import ChannelStatistics, Fingerprint, Normalization
from balrsam_pipeline.printable import listed
from balrsam_pipeline.voxels import LEAST_CONTRAST
from planners.rules import Decision

SCHEME_OF: dict[str, Normalization] = {  # nnU-Net's names; anything else is z-scored
    "ct": "ct",
    "nonorm": "none",
    "zscore": "z_score",
    "rescale_to_0_1": "rescale_to_0_1",
    "rgb_to_0_1": "rgb_to_0_1",
}
MASK_BELOW = 3 / 4  # nnU-Net's: the crop removed more than a quarter
LISTED = 5  # cases that a message names
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


def require_contrast(fingerprint: Fingerprint, schemes: tuple[Normalization, ...]) -> None:
    """Refuse statistics by which `ct` would make one constant of every image.

    Raises:
        DatasetError: next to its standard deviation over all cases a channel's percentiles are one value.
    """
    for channel, (scheme, own) in enumerate(zip(schemes, fingerprint.channel_statistics, strict=True)):
        kept = own.percentile_99_5 - own.percentile_00_5
        if scheme == "ct" and own.std > 0 and kept < LEAST_CONTRAST * own.std:
            raise DatasetError(
                f"{fingerprint.dataset}, {_of_extremes(fingerprint, channel)}",
                found=f"channel {channel} ranges from {own.min:g} to {own.max:g} in labels, next to which "
                f"percentiles 0.5 and 99.5 ({own.percentile_00_5:g}, {own.percentile_99_5:g}) are one value",
                expected="Hounsfield units, without marks for missing data",
                fix="replace those marks in the images by -1024, as air, or leave the cases out",
            )


def _of_extremes(fingerprint: Fingerprint, channel: int) -> str:
    """The cases whose values lie furthest from the median: at least half as far as the furthest."""
    median = fingerprint.channel_statistics[channel].median

    def distance(own: ChannelStatistics) -> float:
        return max(own.max - median, median - own.min)

    far = {
        case.case: distance(case.channel_statistics[channel])
        for case in fingerprint.cases
        if case.channel_statistics
    }
    names = [case for case, value in far.items() if value >= max(far.values()) / 2]
    return f"case{'s' if len(names) > 1 else ''} {listed(names, LISTED)}"
