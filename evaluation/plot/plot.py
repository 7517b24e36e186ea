"""Pictures of chosen cases, or of the worst."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset import read_description
from balrsam_pipeline.dataset.integrity.checks.geometry import check_same_grid
from balrsam_pipeline.errors import BalrsamError, EvaluationError
from balrsam_pipeline.imageio import ALL_ENDINGS, Geometry, read_image, read_label
from balrsam_pipeline.imageio.formats import NATURAL_ENDINGS
from balrsam_pipeline.imageio.turning import laid_on
from balrsam_pipeline.layout import DESCRIPTION
from balrsam_pipeline.outdated import require_current
from balrsam_pipeline.protect import require_apart, require_not_read, require_own
from evaluation.pairs import comparable, label_files
from evaluation.plot.figure import CasePicture, draw_case, is_drawn
from evaluation.view import Plane, Window, image_of_case

LOG = logging.getLogger(__name__)
VOLUMES_FIRST = ".nii.gz"  # pictures in a folder of volumes may be plots of them


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotRequest:
    """What to draw.

    Attributes:
        predictions: folder of CASE.ending.
        images: folder of CASE_0000.ending (the first channel is shown; all three of a colour picture).
        references: folder of CASE.ending, or None.
        cases: which; empty takes the `worst` by mean Dice (without references the first).
        slices: how many slices of a volume, in each plane.
        planes: in which a volume is shown.
        window: what becomes black and white; None chooses by the image.
    """

    predictions: Path
    images: Path
    references: Path | None
    output: Path
    cases: tuple[str, ...] = ()
    worst: int = 5
    slices: int = 3
    planes: tuple[Plane, ...] = ("axial",)
    window: Window | None = None


def plot_cases(request: PlotRequest) -> list[Path]:
    """Draw the cases into `output`/CASE.png; returns the files, the worst case first.

    Raises:
        EvaluationError: there is nothing to draw, or a named case has no prediction.
        DatasetError: a file cannot be read.
        UsageError: files that are read, or that this did not draw, lie where the pictures go.
    """
    predictions = label_files(request.predictions, VOLUMES_FIRST)
    if not predictions:
        raise EvaluationError(
            request.predictions,
            found="no label map",
            expected="predictions such as CASE.nii.gz",
            fix="check the path, or predict first",
        )
    unknown = [case for case in request.cases if case not in predictions]
    if unknown:
        raise EvaluationError(
            request.predictions,
            found=f"no prediction of {', '.join(unknown[:5])}",
            expected=f"cases among {', '.join(sorted(predictions)[:8])} …",
            fix="correct --cases",
        )
    references = label_files(request.references, VOLUMES_FIRST) if request.references else {}
    cases = request.cases or _worst(predictions, references, request.worst)
    require_current(request.predictions, {case: predictions[case] for case in cases}, EvaluationError)
    images = [_image_of(case, request.images) for case in cases]
    chosen = [files[case] for files in (predictions, references) for case in cases if case in files]
    _require_free(request, cases, [*images, *chosen])
    return [_plot(case, predictions[case], references.get(case), request) for case in cases]


def _require_free(request: PlotRequest, cases: Sequence[str], files: Sequence[Path]) -> None:
    """Refuse to draw over files that are read, wherever they really lie, or that are no pictures of ours."""
    folders = [request.predictions, request.images, *([request.references] if request.references else [])]
    pictures = [_picture_of(case, request) for case in cases]
    require_apart(request.output, [*folders, *files])
    require_not_read(pictures, files)
    for picture in pictures:
        require_own([picture], picture, is_drawn)


def _plot(case: str, prediction: Path, reference: Path | None, request: PlotRequest) -> Path:
    place = _image_of(case, request.images)
    image = read_image([place])
    label = _read_onto(image.geometry, place, prediction, "prediction")
    truth = _read_onto(image.geometry, place, reference, "reference") if reference else None
    title = case if truth is None else f"{case}: mean Dice {mean_dice(label, truth):.3f}"
    picture = CasePicture(
        title=title,
        image_czyx=image.data,
        prediction_zyx=label,
        reference_zyx=truth,
        geometry=image.geometry,
        names=_names(request),
    )
    path = _picture_of(case, request)
    draw_case(picture, path, request.slices, request.planes, request.window)
    return path


def _read_onto(grid: Geometry, image: Path, path: Path, what: str) -> npt.NDArray[Any]:
    """A label map (z, y, x) turned onto the grid of its image by its header.

    Raises:
        EvaluationError: it has another shape; of one that lies elsewhere a warning tells.
    """
    label = laid_on(read_label(path), grid)
    if label.geometry.shape_zyx != grid.shape_zyx:
        raise EvaluationError(
            path,
            found=f"shape {label.geometry.shape_zyx}",
            expected=f"{grid.shape_zyx}, as the image",
            fix="predict from this image" if what == "prediction" else "give the references of these images",
        )
    pictures = any(one.name.lower().endswith(NATURAL_ENDINGS) for one in (image, path))
    if not pictures and label.geometry.dimension == grid.dimension:
        for off in check_same_grid(path.name, what, comparable(label.geometry, path, grid, image), grid):
            LOG.warning("%s: %s, the image %s; drawn voxel by voxel", path, off.found, off.expected)
    zyx: npt.NDArray[Any] = label.data[0]
    return zyx


def _picture_of(case: str, request: PlotRequest) -> Path:
    return request.output / f"{case}.png"


def _names(request: PlotRequest) -> dict[int, str]:
    """What label values are called, by a dataset.json in or above one of the folders."""
    folders = [request.predictions, request.references, request.images]
    for place in (place for folder in folders if folder for place in (folder, folder.resolve().parent)):
        if (place / DESCRIPTION).is_file():
            try:
                labels = read_description(place / DESCRIPTION).labels
            except BalrsamError:
                continue
            pairs = zip(labels.names, labels.values, strict=True)
            return {} if labels.has_regions else {values[0]: name for name, values in pairs}
    return {}


def mean_dice(
    prediction: np.ndarray[tuple[int, ...], np.dtype[np.integer]],
    reference: np.ndarray[tuple[int, ...], np.dtype[np.integer]],
) -> float:
    """Mean Dice over the label values that either holds; 1 where both are empty. For choosing pictures, not
    for reports."""
    values = sorted((set(np.unique(prediction)) | set(np.unique(reference))) - {0})
    dice = []
    for value in values:
        one, other = prediction == value, reference == value
        dice.append(2 * int((one & other).sum()) / (int(one.sum()) + int(other.sum())))
    return float(np.mean(dice)) if dice else 1.0


def _worst(predictions: Mapping[str, Path], references: Mapping[str, Path], count: int) -> tuple[str, ...]:
    """The cases of lowest mean Dice, worst first; the first ones where there is no reference to score
    against."""
    scored = []
    for case in sorted(set(predictions) & set(references)):
        try:
            truth = read_label(references[case])
            one, other = laid_on(read_label(predictions[case]), truth.geometry).data, truth.data
        except BalrsamError:
            continue
        if one.shape == other.shape:
            scored.append((mean_dice(one, other), case))
    return tuple(case for _, case in sorted(scored)[:count]) or tuple(sorted(predictions)[:count])


def _image_of(case: str, folder: Path) -> Path:
    found = image_of_case(case, folder)
    if found is None:
        raise EvaluationError(
            folder,
            found=f"no image of case {case}",
            expected=f"{case}_0000 with one of {', '.join(ALL_ENDINGS)}",
            fix="give the folder of its images",
        )
    return found
