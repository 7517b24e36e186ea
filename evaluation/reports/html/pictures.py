"""Slices of cases for the page: image, reference and prediction, as two tall pictures per case that the
script takes apart.

Slices are axial and hang as radiologists hang them, where the file says which way is which.
"""

from __future__ import annotations

import base64
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.imageio import Geometry, file_ending_of, read_image, read_label
from balrsam_pipeline.imageio.turning import laid_on
from evaluation.summary import PairPaths, Summary, case_means
from evaluation.view import image_of_case, images_beside, is_ct, shades, view_of, window_of
from evaluation.view.brightness import ct_bytes

LOG = logging.getLogger(__name__)
MOST_CASES, MOST_SLICES, MOST_PIXELS = 100, 24, 384
MOST_BYTES = 12_000_000  # of all pictures together: what opens at once and can be sent by mail
Array = npt.NDArray[Any]


def worst_cases(summary: Summary) -> tuple[str, ...]:
    """The cases with the lowest mean Dice over their labels, worst first; cases without any label are left
    out."""
    means = case_means(summary, "dice")
    return tuple(sorted(means, key=lambda case: (means[case], case))[:MOST_CASES])


def pictures_of(summary: Summary, label_values: dict[int, int], images: Path | None) -> list[dict[str, Any]]:
    """The pictures of as many cases as fit a page, worst first; see `picture_of`."""
    made: list[dict[str, Any]] = []
    size = 0
    for case in worst_cases(summary):
        picture = picture_of(case, summary.files[case], label_values, images)
        if picture is None:
            continue
        size += len(picture["labels"]) + len(picture["image"] or "")
        if made and size > MOST_BYTES:
            break
        made.append(picture)
    return made


def picture_of(
    case: str, files: PairPaths, label_values: dict[int, int], images: Path | None
) -> dict[str, Any] | None:
    """The slices of one case as JSON values for the script, with prediction and image turned onto the
    reference by their headers; None where a file cannot be read any more, or nothing is labelled.

    Args:
        label_values: value in the label map -> its number on the page, 1 to 255.
        images: folder of CASE_0000 images; None looks beside the references ('labelsTr' -> 'imagesTr').
    """
    try:
        reference = read_label(Path(files.reference))
        prediction = np.zeros_like(reference.data)
        if files.prediction:
            prediction = laid_on(read_label(Path(files.prediction)), reference.geometry).data
        image = _image(case, Path(files.reference), images, reference.geometry)
    except BalrsamError as problem:
        LOG.warning("no picture of %s: %s", case, problem)
        return None
    view = view_of(reference.geometry)
    pair = [view.turn(_numbered(data[0], label_values)) for data in (reference.data, prediction)]
    if not (pair[0].any() or pair[1].any()):
        return None
    slices, rows, columns = _window(pair[0], pair[1])
    spacing_mm = np.array(reference.geometry.spacing_mm)[list(view.axes)]
    step = max(1, -(-max(rows.stop - rows.start, columns.stop - columns.start) // MOST_PIXELS))
    cut = (slices, slice(rows.start, rows.stop, step), slice(columns.start, columns.stop, step))
    labels = [part[cut[0]][:, cut[1], cut[2]] for part in pair]
    gray, is_hounsfield = None, image is not None and is_ct(image)
    if image is not None:
        shown = np.stack([view.turn(channel)[cut[0]][:, cut[1], cut[2]] for channel in image])
        gray = np.moveaxis(ct_bytes(shown) if is_hounsfield else shades(shown, window_of(shown)), 0, -1)
    wrong = (labels[0] != labels[1]).sum(axis=(1, 2))
    return {
        "case": case,
        "height": labels[0].shape[1],
        "width": labels[0].shape[2],
        "aspect": float(labels[0].shape[2] * spacing_mm[2] / (labels[0].shape[1] * spacing_mm[1])),
        "slices": [int(index) for index in slices],
        "total": int(pair[0].shape[0]),
        "start": int(wrong.argmax()),
        "marks": view.marks,
        "ct": is_hounsfield,
        "labels": _inline(np.concatenate(np.stack([*labels, np.zeros_like(labels[0])], axis=-1)), "PNG"),
        "image": None if gray is None else _inline(np.concatenate(gray).squeeze(), "JPEG", quality=90),
    }


def _numbered(label_zyx: Array, label_values: dict[int, int]) -> Array:
    numbers = np.zeros(int(max(label_zyx.max(initial=0), *label_values)) + 1, dtype=np.uint8)
    for value, number in label_values.items():
        numbers[value] = number
    return np.asarray(numbers[label_zyx])


def _window(reference: Array, prediction: Array) -> tuple[npt.NDArray[np.int64], slice, slice]:
    """Which slices to show (where there are too many: evenly spaced ones and the worst), and the part of them
    that holds labels."""
    there = (reference > 0) | (prediction > 0)
    slices = np.flatnonzero(there.any(axis=(1, 2)))
    if len(slices) > MOST_SLICES:
        worst = slices[(reference != prediction)[slices].sum(axis=(1, 2)).argmax()]
        even = slices[np.linspace(0, len(slices) - 1, MOST_SLICES - 1).round().astype(int)]
        slices = np.unique(np.append(even, worst))
    sides = []
    for axis, other in ((1, 2), (2, 1)):
        places = np.flatnonzero(there.any(axis=(0, other)))
        margin = 8 + there.shape[axis] // 10
        sides.append(slice(max(0, places[0] - margin), min(there.shape[axis], places[-1] + 1 + margin)))
    return slices, sides[0], sides[1]


def _image(case: str, reference: Path, images: Path | None, geometry: Geometry) -> Array | None:
    """The first channel (1, z, y, x), or the three of a colour picture; None where no image is found or it
    does not fit."""
    folder = images if images is not None else images_beside(reference.parent)
    found = None if folder is None else image_of_case(case, folder, file_ending_of(reference) or "")
    if found is None:
        return None
    image = laid_on(read_image([found]), geometry)
    if image.geometry.shape_zyx != geometry.shape_zyx:
        LOG.warning("no image behind the picture of %s: %s has another shape", case, found)
        return None
    return image.data if len(image.data) == 3 and image.data.dtype == np.uint8 else image.data[:1]


def _inline(pixels: npt.NDArray[np.uint8], kind: str, **options: object) -> str:
    """A picture as a data address; PNG where values must survive, JPEG where they are only looked at."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
