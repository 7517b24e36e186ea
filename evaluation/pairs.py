"""Pairs of label maps: found by name, read, compared in geometry, checked in values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.imageio import (
    PICTURE_ENDINGS,
    Geometry,
    Image,
    file_ending_of,
    images_among,
    npz,
    place_held,
    read_label,
    unread_images,
)
from balrsam_pipeline.imageio.formats import NATURAL_ENDINGS
from balrsam_pipeline.imageio.tiff import sidecar
from balrsam_pipeline.imageio.turning import laid_on
from balrsam_pipeline.outdated import require_current
from balrsam_pipeline.printable import listed

LOG = logging.getLogger(__name__)
SPACING_TOLERANCE = 1e-3  # relative
ORIGIN_TOLERANCE = 0.05  # of a voxel
DIRECTION_TOLERANCE = 1e-3  # in the entries of unit vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The files of one case.

    Attributes:
        prediction: None where there is none and it counts as empty.
        by_index: whether voxels belong together by their order where headers place them differently, as in a
            dataset that was trained on so (`read_case`); that is a warning then.
    """

    case: str
    prediction: Path | None
    reference: Path
    by_index: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelPair:
    """The label maps of one case.

    Attributes:
        spacing_mm: (z, y, x); 1.0 along z for 2D images, so that products are areas.
        unit: of lengths, 'mm' or 'px'.
        geometry: of the reference.
        warnings: what was odd, but did not prevent scoring.
    """

    prediction_zyx: npt.NDArray[np.integer]
    reference_zyx: npt.NDArray[np.integer]
    spacing_mm: tuple[float, float, float]
    unit: str
    geometry: Geometry
    warnings: tuple[str, ...]


def find_pairs(
    predictions: Path,
    references: Path,
    file_ending: str,
    cases: Sequence[str] | None = None,
    missing_as_empty: bool = False,
) -> tuple[Pair, ...]:
    """Match the files of two folders by name.

    Args:
        file_ending: such as '.nii.gz'; files of other endings of the same kind are taken too (`label_files`).
        cases: the cases to score; None means every case of both folders.
        missing_as_empty: accept cases without a prediction.

    Raises:
        EvaluationError: a folder does not exist or is empty, a case has only one of its two files, or one is
            a prediction that is to be made again.
    """
    predicted = label_files(predictions, file_ending)
    referenced = label_files(references, file_ending)
    wanted = sorted(set(cases)) if cases is not None else sorted(set(predicted) | set(referenced))
    if not wanted:
        raise EvaluationError(
            references,
            found=f"no file ending in {file_ending}",
            expected="one reference per case",
            fix="check the folder and the file ending",
        )
    without_reference = [case for case in wanted if case not in referenced]
    if without_reference:
        raise EvaluationError(
            references,
            found=f"no reference for {listed(without_reference)}",
            expected=f"a file CASE{file_ending} for every prediction",
            fix="remove those predictions, add their references, or name the cases to score: --cases CASE …",
        )
    without_prediction = [case for case in wanted if case not in predicted]
    if without_prediction and not missing_as_empty:
        raise EvaluationError(
            predictions,
            found=f"no prediction for {listed(without_prediction)}",
            expected=f"a file CASE{file_ending} for every reference",
            fix="predict them, count them as empty (--missing-as-empty), or name the cases to score: "
            "--cases CASE …",
        )
    for folder, files in ((predictions, predicted), (references, referenced)):
        require_current(folder, {case: files[case] for case in wanted if case in files}, EvaluationError)
    return tuple(
        Pair(case=case, prediction=predicted.get(case), reference=referenced[case]) for case in wanted
    )


def read_pair(pair: Pair, labels: LabelScheme) -> LabelPair:
    """Read both label maps of a case; a prediction that is stored in another orientation is turned by its
    header where that lays it onto the reference.

    Raises:
        EvaluationError: their geometries differ; DatasetError: a file cannot be read or is no label map.
    """
    reference = read_label(pair.reference)
    elsewhere: tuple[str, ...] = ()
    if pair.prediction is None:
        prediction = Image(data=np.zeros_like(reference.data), geometry=reference.geometry)
    else:
        prediction = laid_on(read_label(pair.prediction), reference.geometry)
        found = comparable(prediction.geometry, pair.prediction, reference.geometry, pair.reference)
        elsewhere = _compare(pair, found, reference.geometry)
    spacing_mm = tuple(float(length) for length in reference.geometry.spacing_mm)
    flat = reference.geometry.dimension == 2
    return LabelPair(
        prediction_zyx=prediction.data[0],
        reference_zyx=reference.data[0],
        spacing_mm=(1.0 if flat else spacing_mm[0], spacing_mm[1], spacing_mm[2]),
        unit=_unit(pair.reference, reference.geometry),
        geometry=reference.geometry,
        warnings=elsewhere + _unlisted(pair, prediction, reference, labels),
    )


def _unit(path: Path, geometry: Geometry) -> str:
    """What lengths are in: pixels for pictures, and for stacks of TIFF and NumPy without a spacing."""
    name = path.name.lower()
    if name.endswith(npz.ENDING):
        physical = geometry.dimension == 3 and npz.has_spacing(path)
    else:
        natural = name.endswith(NATURAL_ENDINGS)
        physical = not natural or (geometry.dimension == 3 and sidecar(path) is not None)
    return "mm" if physical else "px"


def label_files(folder: Path, file_ending: str) -> dict[str, Path]:
    """Case -> its label map in a folder, whatever the ending; names that begin with a dot are nobody's case.

    Args:
        file_ending: such as '.nii.gz'. Of a case with files of both kinds, volumes and pictures, the one of
            this kind is taken. Pictures among volumes are previews; those of no case, and images of formats
            that are not read, are named in a warning.

    Raises:
        EvaluationError: no such folder, or two files of one case.
    """
    if not folder.is_dir():
        raise EvaluationError(
            folder, found="no such folder", expected="a folder of label maps", fix="check the path"
        )
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    known = [(path, file_ending_of(path)) for path in images_among(files)]
    pictures = file_ending.lower() in NATURAL_ENDINGS
    alike = [(path, ending) for path, ending in known if (ending in NATURAL_ENDINGS) == pictures]
    cases = {path.name[: -len(ending)] for path, ending in alike}
    others = [(path, ending) for path, ending in known if path.name[: -len(ending)] not in cases]
    previews = [path for path, ending in others if cases and not pictures and ending in PICTURE_ENDINGS]
    if passed_over := sorted([*previews, *unread_images(files)]):
        LOG.warning("%s: not taken for label maps: %s", folder, listed([path.name for path in passed_over]))
    found: dict[str, Path] = {}
    for path, ending in [*alike, *(other for other in others if other[0] not in previews)]:
        case = path.name[: -len(ending)]
        if case in found:
            raise EvaluationError(
                folder,
                found=f"two files of case {case}: {found[case].name} and {path.name}",
                expected="one label map per case",
                fix="move one of them elsewhere",
            )
        found[case] = path
    return found


def comparable(geometry: Geometry, path: Path, expected: Geometry, other: Path) -> Geometry:
    """`geometry` of a file, with what the format of either file does not hold as in `expected`, which is that
    of the other: nothing of it could be compared.

    Raises:
        ImageError: an `.npz` file cannot be read.
    """
    held = place_held(path, other)
    alike = _spacing_is(path) == _spacing_is(other)
    return replace(
        geometry,
        spacing_mm=geometry.spacing_mm if alike else expected.spacing_mm,
        origin_mm=geometry.origin_mm if "origin" in held else expected.origin_mm,
        direction=geometry.direction if "direction" in held else expected.direction,
    )


def _spacing_is(path: Path) -> str:
    """Where the size of a file's voxels stands: inside it, beside it if anywhere, or nowhere."""
    name = path.name.lower()
    if name.endswith(NATURAL_ENDINGS):
        return "beside"
    return "nowhere" if name.endswith(npz.ENDING) and not npz.has_spacing(path) else "inside"


def _compare(pair: Pair, found: Geometry, expected: Geometry) -> tuple[str, ...]:
    """Refuse geometries that differ by more than a writer's rounding; of pairs by index another place is a
    warning, which is returned.

    A 2D image and a volume of one slice are compared in the plane.
    """
    finest_mm = min(expected.spacing_mm)
    differences = []
    if found.shape_zyx != expected.shape_zyx:
        differences.append(f"shape {found.shape_zyx} against {expected.shape_zyx}")
    axes = slice(None) if found.dimension == expected.dimension else slice(1, None)  # of z, y, x
    if not np.allclose(found.spacing_mm[axes], expected.spacing_mm[axes], rtol=SPACING_TOLERANCE, atol=0):
        differences.append(f"spacing {found.spacing_mm[axes]} against {expected.spacing_mm[axes]}")
    moved = _placed_otherwise(found, expected, ORIGIN_TOLERANCE * finest_mm)
    if differences or (moved and not pair.by_index):
        raise EvaluationError(
            pair.prediction,
            found="; ".join(differences + moved),
            expected=f"the geometry of {pair.reference}",
            fix="predict on, or resample to, the grid of the reference (nearest neighbour)",
        )
    if not moved:
        return ()
    return (
        f"{pair.reference}: by its header it lies elsewhere than its image ({'; '.join(moved)}); voxels are "
        "compared as they are stored, as in training",
    )


def _placed_otherwise(found: Geometry, expected: Geometry, tolerance_mm: float) -> list[str]:
    """How origin and direction differ; of a 2D image and a volume their parts in the plane."""
    across = found.dimension != expected.dimension
    origins = [np.array(geometry.origin_mm)[: 2 if across else 3] for geometry in (found, expected)]
    cosines = [
        np.array(geometry.direction).reshape(3, 3)[: 2 if across else 3, : 2 if across else 3]
        for geometry in (found, expected)
    ]
    differences = []
    if not np.allclose(origins[0], origins[1], rtol=0, atol=tolerance_mm):
        differences.append(f"origin {found.origin_mm} against {expected.origin_mm}")
    if not np.allclose(cosines[0], cosines[1], rtol=0, atol=DIRECTION_TOLERANCE):
        differences.append(f"direction {found.direction} against {expected.direction}")
    return differences


def _unlisted(pair: Pair, prediction: Image, reference: Image, labels: LabelScheme) -> tuple[str, ...]:
    warnings = []
    for path, image in ((pair.prediction, prediction), (pair.reference, reference)):
        strange = sorted(set(present_values(image.data)) - labels.allowed_values)
        if strange:
            warnings.append(f"{path}: label values {listed(strange)} are not in the list of labels")
    return tuple(warnings)


def present_values(label: npt.NDArray[np.integer]) -> tuple[int, ...]:
    """The different values of a label map, ascending; quicker than sorting it."""
    if label.min(initial=0) < 0 or label.max(initial=0) > np.iinfo(np.uint16).max:
        return tuple(int(value) for value in np.unique(label))
    seen = np.zeros(int(label.max(initial=0)) + 1, dtype=np.bool_)
    seen[label] = True
    return tuple(int(value) for value in np.flatnonzero(seen))
