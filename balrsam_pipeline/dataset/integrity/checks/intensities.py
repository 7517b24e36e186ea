"""Are the voxels of an image numbers that its channel can have?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.description import DatasetDescription
from balrsam_pipeline.dataset.integrity.checks.labels import is_grey
from balrsam_pipeline.dataset.integrity.report import Problem
from balrsam_pipeline.voxels import (
    LEAST_CONTRAST,
    LEAST_OF_RANGE,
    LITTLE_CONTRAST,
    LITTLE_OF_RANGE,
    contrast,
    crop,
    mean_and_std,
    nonzero_box,
)

AIR_HU = -500.0  # any CT of a patient that was not cut out of its surroundings holds air or lung below this
LEAST_HU = -20000.0  # extended scales begin at -10240; -32768 and the like mark what was not scanned
HU_LIMIT = 70000.0  # above metal in extended-scale CT; 16-bit readers overflow before
LARGEST_SANE = 1e9
COLOURS_AND_ALPHA = 4  # channels
CONSTANT_FIX = "export the channel again, or leave the case out"
SCALED_OTHERWISE = ("ct", "nonorm")  # names of channels that are not scaled by their own spread
BY_RANGE = "rescale_to_0_1"  # the name of those that are scaled by their range


def check_channels(
    case: str, image_czyx: npt.NDArray[Any], description: DatasetDescription
) -> Iterator[Problem]:
    """Does the image have the channels that dataset.json names?"""
    names, count = description.channel_names, image_czyx.shape[0]
    if count == len(names):
        return
    if len(names) == 1 and count in (3, 4) and is_grey(image_czyx):
        yield Problem(
            "image_grey_as_colours",
            case,
            f"{count} channels, of which the colours are all the same",
            f"one: {names[0]}",
            "keep one of them in a copy of the dataset: balrsam verify DATASET --fix NEW_FOLDER",
        )
        return
    if count == len(names) + 1 and count in (2, 4):
        yield Problem(
            "alpha_channel",
            case,
            f"{count} channels, probably transparency as the last",
            f"{len(names)}: {', '.join(names)}",
            "drop the last channel in a copy of the dataset: balrsam verify DATASET --fix NEW_FOLDER",
        )
        return
    yield Problem(
        "channel_count",
        case,
        f"{count} channel(s) in the image",
        f"{len(names)}: {', '.join(names)}",
        "correct channel_names in dataset.json, or save the image with those channels (grey: 1, RGB: 3)",
    )


def check_intensities(
    case: str, image_czyx: npt.NDArray[Any], description: DatasetDescription, one_file: bool = False
) -> Iterator[Problem]:
    """Look for NaN, infinities, constant channels, marks for missing data, absurd values, and CT that is not
    in Hounsfield units.

    Args:
        one_file: all channels are in one file, as colours are.
    """
    for index, channel in enumerate(image_czyx):
        name = description.channel_names[index] if index < len(description.channel_names) else str(index)
        low, high = float(channel.min()), float(channel.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            count = int(channel.size - np.count_nonzero(np.isfinite(channel)))
            yield Problem(
                "nan_or_infinite",
                case,
                f"{count} voxel(s) NaN or infinite in channel {index} ({name})",
                "finite numbers",
                "find out what made them, and save the image without (air in CT is -1024, background in "
                "MR 0)",
            )
        elif low == high:
            yield _constant(
                case,
                f"channel {index} ({name}) is {low:g} everywhere",
                one_file and len(image_czyx) == COLOURS_AND_ALPHA == index + 1,
            )
        elif lost := _lost_contrast(case, index, name, channel):
            yield lost
        elif max(abs(low), abs(high)) > LARGEST_SANE:
            yield Problem(
                "absurd_intensity",
                case,
                f"channel {index} ({name}) ranges from {low:g} to {high:g}",
                f"at most {LARGEST_SANE:g}",
                "look for a wrong scl_slope or rescale slope, or voxels read as the wrong type",
                "warning",
            )
        elif name.casefold() == "ct":
            yield from _check_hounsfield(case, index, low, high)


def _constant(case: str, found: str, alpha: bool) -> Problem:
    """A constant channel; the last of four may be transparency, which `across.constant_channels` decides."""
    if not alpha:
        return Problem("constant_channel", case, found, "an image", CONSTANT_FIX, "warning")
    return Problem(
        "constant_alpha",
        case,
        f"{found}, as in all cases: most likely alpha (transparency)",
        "channels that hold an image",
        "drop it from all images and from channel_names in a copy of the dataset: balrsam verify DATASET "
        "--fix NEW_FOLDER",
        "warning",
    )


def _lost_contrast(case: str, index: int, name: str, channel_zyx: npt.NDArray[Any]) -> Problem | None:
    """Marks for missing data, by what normalisation leaves of a channel, cropped as it will be; None where
    that is enough."""
    if name.casefold() in SCALED_OTHERWISE:
        return None
    cropped = crop(channel_zyx[None], nonzero_box(channel_zyx[None]))[0]
    least, little = LEAST_OF_RANGE, LITTLE_OF_RANGE
    left = contrast(cropped, float(cropped.max()) - float(cropped.min()))
    if name.casefold() != BY_RANGE:
        least, little = LEAST_CONTRAST, LITTLE_CONTRAST
        if left < little:  # else it is more in deviations, of which a range has two at least
            left = contrast(cropped, mean_and_std(cropped)[1])
    if left >= little:
        return None
    low, high = float(channel_zyx.min()), float(channel_zyx.max())
    return Problem(
        "missing_data_values",
        case,
        f"channel {index} ({name}) ranges from {low:g} to {high:g}; next to that, the spread of most of its "
        f"values is {left:.2g}, once normalised",
        "intensities without marks for missing data",
        "replace those marks in the image by the value of its background, such as 0",
        "error" if left < least else "warning",
    )


def _check_hounsfield(case: str, index: int, low: float, high: float) -> Iterator[Problem]:
    if low < LEAST_HU:
        yield Problem(
            "missing_data_values",
            case,
            f"channel {index} (CT) ranges from {low:g} to {high:g}",
            "Hounsfield units, without marks for missing data",
            "replace those marks in the image by -1024, as air: inside labels they spoil the statistics that "
            "all cases are normalised by",
            "warning",
        )
    if low > AIR_HU or high > HU_LIMIT:
        yield Problem(
            "ct_not_in_hu",
            case,
            f"channel {index} (CT) ranges from {low:g} to {high:g}",
            f"Hounsfield units: air below {AIR_HU:g}",
            "apply rescale slope and intercept (often: subtract 1024); a windowed 8-bit export has lost "
            "them: name the channel "
            "otherwise (such as windowed_ct) so that it is z-scored",
            "warning",
        )
