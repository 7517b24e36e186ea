"""Are the values of a label file those that dataset.json knows, stored as label values should be?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.description import DatasetDescription
from balrsam_pipeline.dataset.grey_values import (
    SPREAD,
    VOID,
    by_ranges,
    has_void,
    is_blurred,
    numbered,
    plateaus,
    threshold,
    void_as_ignore,
)
from balrsam_pipeline.dataset.integrity.report import Problem
from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.imageio import as_label
from balrsam_pipeline.imageio.reading import are_whole_numbers
from balrsam_pipeline.voxels import crop, foreground_box, nonzero_box

# there are several labels, and nobody but the user knows which one 255 means
WHICH_LABEL = (
    "write the value of the label that 255 stands for into the label file (if it means void: ignore)"
)
FIX = "in a copy of the dataset: balrsam verify DATASET --fix NEW_FOLDER"
SHOWN_VALUES = 10
MOST_LABELS = 12  # greys in a label map; more are a picture


def check_stored_label(
    case: str, raw_czyx: npt.NDArray[Any]
) -> tuple[npt.NDArray[Any] | None, tuple[Problem, ...]]:
    """Look at a label as it is on disk.

    Args:
        raw_czyx: the voxels of the label file, of any type and number of channels.

    Returns:
        The label values (1, z, y, x) as integers, or None where the file holds no label, and the problems
        found.
    """
    if raw_czyx.shape[0] != 1:
        label, more = check_stored_label(case, raw_czyx[:1]) if is_grey(raw_czyx) else (None, ())
        return label, (_colour_problem(case, raw_czyx), *more)
    if raw_czyx.dtype.kind != "f":
        if raw_czyx.min() < 0:
            return None, (_negative(case, int(raw_czyx.min())),)
        return as_label(raw_czyx, case), ()
    low, high = float(raw_czyx.min()), float(raw_czyx.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        found = (
            f"{int(raw_czyx.size - np.count_nonzero(np.isfinite(raw_czyx)))} voxel(s) NaN or infinite "
            "in "
            "the label"
        )
        return None, (
            Problem(
                "label_nan", case, found, "label values", "find out what made them, and save the label again"
            ),
        )
    if not are_whole_numbers(raw_czyx):
        return None, (
            Problem(
                "label_fractions",
                case,
                f"label values between whole numbers, from {low:g} to {high:g}",
                "whole numbers",
                "resample labels with nearest neighbour; a probability map must be thresholded first",
            ),
        )
    if round(low) < 0:
        return None, (_negative(case, round(low)),)
    stored = Problem(
        "label_stored_as_float",
        case,
        f"label values stored as {raw_czyx.dtype}",
        "an integer type",
        f"store them as integers {FIX} (they are whole numbers and are read as such)",
        "warning",
    )
    return as_label(raw_czyx, case), (stored,)


def check_values(
    case: str, label_czyx: npt.NDArray[Any], values: tuple[int, ...], scheme: LabelScheme
) -> Iterator[Problem]:
    """Compare the values that occur in a label with those that dataset.json knows.

    Args:
        values: those that occur in `label_czyx`.
    """
    unknown = [value for value in values if value not in scheme.allowed_values]
    expected = f"values among {', '.join(map(str, sorted(scheme.allowed_values)))}"
    if values in ((0, 255), (255,)) and unknown:
        fix = f"turn 255 into 1 {FIX}" if scheme.allowed_values == {0, 1} else WHICH_LABEL
        yield Problem("label_of_0_and_255", case, "a mask of 0 and 255", expected, fix)
    elif unknown:
        shown = ", ".join(map(str, unknown[:SHOWN_VALUES])) + (" …" if len(unknown) > SHOWN_VALUES else "")
        fix = _fix_of_values(label_czyx, scheme)
        yield Problem("label_unknown_value", case, f"label values {shown}", expected, fix)
    elif set(values) <= {0, scheme.ignore_value}:
        found = (
            "only background in the label"
            if values == (0,)
            else "nothing but background and ignore in the label"
        )
        fix = "fine if the case is a healthy one; otherwise add the missing label"
        if values == (scheme.ignore_value,):
            found = "nothing but ignore in the label"
            fix = "annotate some of it, or leave the case out: nothing can be learnt from it"
        yield Problem("label_empty", case, found, "some foreground", fix, "warning")


def _fix_of_values(label_czyx: npt.NDArray[Any], scheme: LabelScheme) -> str:
    """What to do about values that dataset.json does not know: merge them only where they are a fringe of the
    one label."""
    values, voxels = np.unique(label_czyx, return_counts=True)
    counts = dict(zip(values.tolist(), voxels.tolist(), strict=True))
    one_label = scheme.allowed_values == {0, 1}
    if is_blurred(counts) and one_label:
        return (
            "rare values between two greys come from JPEG or smoothing: make the masks again with a "
            f"threshold (balrsam convert --from pairs --value-map '{threshold(counts)}')"
        )
    if is_blurred(counts):
        return (
            "rare values between two greys come from JPEG or smoothing, and a threshold would merge the "
            "labels: export the masks again as PNG, without anti-aliasing"
        )
    if flat := plateaus(counts):
        return f"{by_ranges(flat, counts)} (balrsam convert --from pairs)"
    if has_void(counts):
        return (
            "255 usually means void, pixels that nobody labelled: add "
            f'"ignore": {scheme.largest + 1} to labels in dataset.json and write {scheme.largest + 1} for '
            "255 into all label files, or convert the masks again, with an entry for each of their values, "
            f"such as balrsam convert --from pairs {void_as_ignore(counts)}"
        )
    if SPREAD < max(counts) <= VOID and len(counts) <= MOST_LABELS:
        return (
            "greys that stand for labels: write the labels' values for them, or convert the masks again, "
            f"with an entry for each of their values, such as --value-map '{numbered(counts)}' for this case "
            "(balrsam convert --from pairs)"
        )
    return (
        "correct the label file, or add the value to labels in dataset.json (is this an image instead of a "
        "label?)"
    )


def check_label_inside(
    case: str, image_czyx: npt.NDArray[Any], label_czyx: npt.NDArray[Any], description: DatasetDescription
) -> Iterator[Problem]:
    """Do labels reach out of the box of nonzero voxels, where predictions never do?"""
    if image_czyx.shape[1:] != label_czyx.shape[1:]:
        return
    box, scheme = nonzero_box(image_czyx), description.labels
    if foreground_box(image_czyx, label_czyx[0], scheme.ignore_value) == box:
        return
    outside = label_czyx[0].copy()
    crop(outside[None], box)[:] = 0
    names = description.label_names
    found = {value: int((outside == value).sum()) for value in np.unique(outside).tolist() if value}
    shown = ", ".join(
        f"{count} of label {names.get(value, value)}"
        for value, count in found.items()
        if value != scheme.ignore_value
    )
    yield Problem(
        "label_outside_nonzero",
        case,
        f"labelled voxels where the image is cropped because it is 0 there: {shown}",
        "labels inside the box of nonzero voxels",
        "training keeps them; predictions look inside that box alone. Look at the case: was the image masked "
        "too tightly?",
        "warning",
    )


def _colour_problem(case: str, raw_czyx: npt.NDArray[Any]) -> Problem:
    if is_grey(raw_czyx):
        found, fix = f"a grey mask saved with {raw_czyx.shape[0]} channels", f"keep one channel {FIX}"
        return Problem("label_grey_as_colours", case, found, "one channel of label values", fix)
    colours = np.unique(raw_czyx.reshape(raw_czyx.shape[0], -1)[:3], axis=1).T
    shown = ", ".join(str(tuple(int(value) for value in colour)) for colour in colours[:4]) + (
        " …" if len(colours) > 4 else ""
    )
    return Problem(
        "label_colours",
        case,
        f"a colour mask of {len(colours)} colour(s): {shown}",
        "one channel of label values",
        "say which colour is which label: balrsam convert --from pairs with a value map",
    )


def is_grey(raw_czyx: npt.NDArray[Any]) -> bool:
    """Whether the colour channels of a mask are all the same (a fourth, transparency, is not looked at)."""
    colours = raw_czyx[:3] if raw_czyx.shape[0] > 2 else raw_czyx[:1]
    return bool(np.all(colours == colours[:1]))


def _negative(case: str, low: int) -> Problem:
    return Problem("label_negative", case, f"label value {low}", "0 or more", "renumber the label file")
