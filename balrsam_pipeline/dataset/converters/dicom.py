"""Folders of DICOM series, one folder per case, with labels as image files or as DICOM-SEG."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.converters.conversion import Conversion, Converted, finish, run_all
from balrsam_pipeline.dataset.converters.dicom_channels import order_series
from balrsam_pipeline.dataset.converters.segmentation import read_segmentation, segment_names
from balrsam_pipeline.dataset.converters.source_files import listed, stem_of, warn_of_passed_over
from balrsam_pipeline.dataset.converters.value_map import apply_value_map
from balrsam_pipeline.dataset.integrity.checks.geometry import check_same_grid
from balrsam_pipeline.dataset.new_folder import new_folder
from balrsam_pipeline.dataset.raw import label_values
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import FILE_ENDINGS, Geometry, Image, read_label, write_image, write_label
from balrsam_pipeline.imageio.dicom import SEGMENTATION, Series, find_series, read_series
from balrsam_pipeline.imageio.dicom_files import folders_of
from balrsam_pipeline.imageio.simpleitk_io import reoriented
from balrsam_pipeline.layout import GROUPS, IMAGES_TR, IMAGES_TS, LABELS_TR

LOG = logging.getLogger(__name__)
ENDING = ".nii.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    case: str
    images: tuple[Series, ...]
    label: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    new: Path
    values: Mapping[str, int]
    value_map: Mapping[tuple[int, ...], int]


def convert_dicom(conversion: Conversion) -> Converted:
    """Convert `images/CASE/` (DICOM files, any depth) with a label in `masks/CASE.nii.gz`, or a label file or
    DICOM-SEG beside the series.

    Hounsfield units and geometry come from the DICOM header; each series becomes one channel, the one that
    its description names, else in the order of series numbers. Scouts are left out with a note. Cases in
    `test/` need no label. Loose files and masks without a case are passed over with a warning.

    Raises:
        DatasetError: a folder is missing, a case has no series or another number of them, slices are missing,
            or a label does not lie on the image's grid.
    """
    training = _cases(conversion, conversion.source / conversion.images, labelled=True)
    tests = conversion.source / conversion.test
    test = _cases(conversion, tests, labelled=False) if conversion.test and tests.is_dir() else {}
    _warn_of_spare_masks(conversion.source / conversion.masks, {*training, *test})
    first = next(iter(training.values())).images
    names = conversion.channel_names or tuple(
        f"{series.modality}{index or ''}" for index, series in enumerate(first)
    )
    _require_series({**training, **test}, len(names))
    training, test = _in_channel_order(training, test, names)
    values = dict(conversion.labels) or _segment_values(training)
    with new_folder(conversion.target, conversion.source, conversion.made_of()) as new:
        task = _Task(new=new, values=values, value_map=conversion.value_map)
        found = run_all(partial(_convert_case, task=task, images=IMAGES_TR), training, conversion.workers)
        run_all(partial(_convert_case, task=task, images=IMAGES_TS), test, conversion.workers)
        numbers = sorted({value for case in found.values() for value in case} - {0})
        labels = values or {f"label_{value}": value for value in numbers}
        return finish(new, conversion, names, labels, ENDING, name=conversion.source.name)


def _convert_case(job: _Job, task: _Task, images: str) -> tuple[int, ...]:
    """Write one case; returns its label values."""
    first: Image | None = None
    for index, series in enumerate(job.images):
        image = read_series(series)
        write_image(task.new / images / f"{job.case}_{index:04d}{ENDING}", image)
        first = first or image
    if job.label is None or first is None:
        return ()
    label = _read_label(job.label, first.geometry, task)
    write_label(task.new / LABELS_TR / f"{job.case}{ENDING}", label, first.geometry)
    return label_values(label)


def _read_label(path: Path, geometry: Geometry, task: _Task) -> npt.NDArray[Any]:
    """The label map (z, y, x) on the series' grid; a file stored in another orientation is turned to it."""
    if not is_image(path):
        return read_segmentation(path, geometry, task.values)
    label = read_label(path)
    if (
        label.geometry.orientation != geometry.orientation
        and geometry.dimension == label.geometry.dimension == 3
    ):
        label = reoriented(label, geometry.orientation)
    off = next(check_same_grid(path.name, "label", label.geometry, geometry), None)
    if off is not None:
        raise DatasetError(
            path,
            found=off.found,
            expected=off.expected,
            fix="resample the label to the series (nearest neighbour)",
        )
    if task.value_map:
        return apply_value_map(label.data, task.value_map)
    return (
        np.asarray(label.data[0] == 255, dtype=np.uint8)
        if label_values(label.data) in ((0, 255), (255,))
        else label.data[0]
    )


def _cases(conversion: Conversion, folder: Path, labelled: bool) -> dict[str, _Job]:
    cases: dict[str, _Job] = {}
    left_out: dict[str, tuple[Series, ...]] = {}
    for place in _case_folders(conversion, folder):
        series = find_series(place)
        images = tuple(one for one in series if one.is_image)
        segmentations = [one.files[0] for one in series if one.modality == SEGMENTATION]
        left_out[place.name] = tuple(
            one for one in series if not one.is_image and one.modality != SEGMENTATION
        )
        label = _label(place, conversion.source / conversion.masks, segmentations) if labelled else None
        cases[place.name] = _Job(case=place.name, images=images, label=label)
    _warn_of_left_out(folder, left_out)
    return cases


def _warn_of_left_out(folder: Path, series_of_cases: Mapping[str, tuple[Series, ...]]) -> None:
    """Name each scout; of what was made of images, which treatment plans bring for every case, each kind."""
    cases_of: dict[str, list[str]] = {}  # modality -> case of each series
    for case, series in series_of_cases.items():
        for one in series:
            if one.is_localizer:
                LOG.warning("case %s: series %d left out: a scout (localizer)", case, one.number)
            else:
                cases_of.setdefault(one.modality, []).append(case)
    for modality, cases in sorted(cases_of.items()):
        names = listed(list(dict.fromkeys(cases)))
        LOG.warning("%s: %s is no image, %d series left out, of %s", folder, modality, len(cases), names)


def _case_folders(conversion: Conversion, folder: Path) -> list[Path]:
    """The folders of the cases, sorted by name; files beside them are named in a warning, hidden ones are
    nobody's."""
    shown = (
        [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
        if folder.is_dir()
        else []
    )
    others = (conversion.masks, conversion.test)
    places = [path for path in shown if path.is_dir() and path.name not in others]
    if not places:
        raise DatasetError(
            folder,
            found="no such folder" if not folder.is_dir() else "no folder of a case in it",
            expected="one folder of DICOM files per case",
            fix="name the folder that holds the cases: --images FOLDER (inside the source; '.' for the "
            "source itself)",
        )
    loose = (path for path in shown if path.is_file() and path.name != GROUPS)
    warn_of_passed_over(folder, loose, "no folders of a case")
    return places


def _warn_of_spare_masks(masks: Path, cases: Collection[str]) -> None:
    if masks.is_dir():
        spare = (path for path in masks.iterdir() if is_image(path) and stem_of(path) not in cases)
        warn_of_passed_over(masks, spare, "masks without a case")


def _label(place: Path, masks: Path, segmentations: list[Path]) -> Path:
    beside = [masks / f"{place.name}{ending}" for ending in FILE_ENDINGS]
    files = (path for part in folders_of(place, tell=False) for path in part.iterdir())
    inside = sorted(path for path in files if is_image(path) and not path.name.startswith("."))
    candidates = [path for path in beside if path.is_file()] or inside or segmentations
    if len(candidates) != 1:
        raise DatasetError(
            place,
            found=f"{len(candidates)} labels" if candidates else "no label",
            expected=f"one: {masks.name}/{place.name}.nii.gz, or an image file or a DICOM-SEG beside the "
            "series",
            fix="add it, or move the case to the folder of test images"
            if not candidates
            else "leave one of them there",
        )
    return candidates[0]


def _require_series(cases: Mapping[str, _Job], count: int) -> None:
    for job in cases.values():
        if len(job.images) != count:
            raise DatasetError(
                f"case {job.case}",
                found=f"{len(job.images)} image series",
                expected=f"{count}, one per channel",
                fix="move the series that are not to be used out of the folder, or name the channels: "
                "--channels",
            )


def _in_channel_order(
    training: dict[str, _Job], test: dict[str, _Job], names: tuple[str, ...]
) -> tuple[dict[str, _Job], dict[str, _Job]]:
    """The same cases, their series in the order of the channels."""
    jobs = [*training.values(), *test.values()]
    ordered = order_series([(job.case, job.images) for job in jobs], names)
    placed = [replace(job, images=images) for job, images in zip(jobs, ordered, strict=True)]
    return (
        {job.case: job for job in placed[: len(training)]},
        {job.case: job for job in placed[len(training) :]},
    )


def _segment_values(training: Mapping[str, _Job]) -> dict[str, int]:
    """A value for every segment name that occurs, the same in all cases: numbers mean something else in every
    DICOM-SEG."""
    files = [job.label for job in training.values() if job.label is not None and not is_image(job.label)]
    names = dict.fromkeys(name for path in files for name in segment_names(path))
    return {name: value for value, name in enumerate(names, 1)}


def is_image(path: Path) -> bool:
    """Whether a file has the ending of an image format (DICOM files have none, or .dcm)."""
    return path.is_file() and any(path.name.lower().endswith(ending) for ending in FILE_ENDINGS)
