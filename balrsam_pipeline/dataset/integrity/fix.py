"""Fixing what is mechanical, in a new dataset folder: the old one is only read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.cases import CaseFiles, find_label, scan_images
from balrsam_pipeline.dataset.integrity.checks.intensities import COLOURS_AND_ALPHA
from balrsam_pipeline.dataset.integrity.checks.labels import is_grey
from balrsam_pipeline.dataset.integrity.checks.structure import check_files
from balrsam_pipeline.dataset.integrity.report import IntegrityReport, Problem
from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.dataset.new_folder import copy_file, copy_image, new_folder
from balrsam_pipeline.dataset.raw import RawDataset, label_values, open_dataset
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.execution.whole_folder import tree_state_sha256
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.imageio import (
    Geometry,
    Image,
    as_label,
    file_ending_of,
    read_image,
    write_image,
    write_label,
)
from balrsam_pipeline.imageio.formats import format_of
from balrsam_pipeline.layout import DESCRIPTION, GROUPS, IMAGES_TR, IMAGES_TS, LABELS_TR, SPLITS_FINAL
from balrsam_pipeline.progress import track

LABEL_HEADER = frozenset({"label_spacing", "label_origin", "label_direction"})
CHANNEL_HEADER = frozenset({"channel_spacing", "channel_origin", "channel_direction"})
LABEL_VALUES = frozenset({"label_of_0_and_255", "label_grey_as_colours", "label_stored_as_float"})
IMAGES = CHANNEL_HEADER | {"alpha_channel", "constant_alpha", "image_grey_as_colours"}
LEFT_OUT = frozenset({"label_without_image", "stray_file"})  # not copied, because nothing reads them
WHOLE_DATASET = frozenset({"labels_not_consecutive", "num_training"})
FIXABLE = LABEL_HEADER | LABEL_VALUES | IMAGES | LEFT_OUT | WHOLE_DATASET
SPACING_SLACK = 0.05  # a spacing further off than this is another grid, not a rounded header


@dataclass(frozen=True, slots=True)
class FixResult:
    """What `fix_dataset` did: the new folder, the problems it fixed, and those that are left for the
    user."""

    target: Path
    fixed: tuple[Problem, ...]
    left: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    files: CaseFiles
    kinds: frozenset[str]
    folder: Path
    renumber: Mapping[int, int] | None


def fix_dataset(folder: Path, report: IntegrityReport, target: Path, workers: int = 1) -> FixResult:
    """Copy a dataset to `target` with the mechanical problems of its report fixed.

    Masks of 0 and 255 become 0 and 1; grey masks with colour channels and whole floats become integers;
    headers that differ a little from the image's are replaced by it; transparency channels are dropped;
    greys saved as colours keep one channel; gaps in label values are closed; `numTraining` is corrected;
    files that nothing reads stay behind.

    Args:
        report: of `check_dataset(folder)`.
        target: the new dataset folder; must not exist.

    Raises:
        DatasetError: dataset.json cannot be read, `target` exists, or a file could not be copied; then there
            is no `target`.
    """
    dataset = open_dataset(folder)
    kinds: dict[str, set[str]] = {}
    for problem in report.problems:
        kinds.setdefault(problem.case, set()).add(problem.kind)
    renumber = (
        _renumbering(dataset.description.labels)
        if "labels_not_consecutive" in kinds.get(DESCRIPTION, set())
        else None
    )
    drop = {"constant_alpha"} & set().union(*kinds.values())  # from all images, or from none
    found = check_files(dataset)
    unfixed: set[tuple[str, str]] = set()
    with new_folder(target, folder, made_of(folder)) as new:
        for subfolder in (IMAGES_TR, LABELS_TR):
            (new / subfolder).mkdir()
        jobs = {
            prefix + case: _Job(
                files,
                frozenset(kinds.get(prefix + case, set()) | drop),
                new / (prefix or IMAGES_TR),
                renumber,
            )
            for prefix, cases in (("", found.training), (f"{IMAGES_TS}/", found.test))
            for case, files in cases.items()
        }
        fix = partial(_fix_case, scheme=dataset.description.labels)
        with local_executor(min(workers, len(jobs))) as executor:
            for outcome in track(run_cases(fix, jobs, executor, workers, DatasetError), len(jobs), "copying"):
                if outcome.error is not None:
                    raise outcome.error
                unfixed |= {(outcome.case, kind) for kind in outcome.value or ()}
        _copy_incomplete_cases(dataset, new, found.training)
        _write_description(folder, new, len(found.training), renumber, bool(drop))
    fixed = tuple(
        problem
        for problem in report.problems
        if problem.kind in FIXABLE and (problem.case, problem.kind) not in unfixed
    )
    done = set(fixed)
    return FixResult(target, fixed, tuple(problem for problem in report.problems if problem not in done))


def made_of(folder: Path) -> str:
    """What a fixed copy of a dataset is known by: the dataset and its state."""
    return f"fix of {folder.resolve()} {tree_state_sha256(folder)}"


def _fix_case(job: _Job, scheme: LabelScheme) -> frozenset[str]:
    """Copy one case, fixing it; returns the fixable kinds that had to be left."""
    left: set[str] = set()
    names = [
        f"{job.files.case}_{index:04d}{file_ending_of(path)}" for index, path in enumerate(job.files.images)
    ]
    image = _first_geometry(job.files)
    for path, name in zip(job.files.images, names, strict=True):
        if job.kinds & IMAGES and image is not None:
            _fix_image(path, job.folder / name, job.kinds, image, left)
        else:
            copy_image(path, job.folder / name)
    label = job.files.label
    if label is None:
        return frozenset(left)
    written = job.folder.parent / LABELS_TR / f"{job.files.case}{file_ending_of(label)}"
    if job.kinds & (LABEL_VALUES | LABEL_HEADER) or job.renumber is not None:
        _fix_label(label, written, job, scheme, left)
    else:
        copy_image(label, written)
    return frozenset(left)


def _fix_image(source: Path, target: Path, kinds: frozenset[str], wanted: Geometry, left: set[str]) -> None:
    image = read_image([source])
    data, geometry = image.data, image.geometry
    if "alpha_channel" in kinds or ("constant_alpha" in kinds and len(data) == COLOURS_AND_ALPHA):
        data = data[:-1]
    if "image_grey_as_colours" in kinds:
        data = data[:1]
    if kinds & CHANNEL_HEADER and geometry != wanted:
        if _header_can_be_replaced(geometry, wanted):
            geometry = wanted
        else:
            left |= kinds & CHANNEL_HEADER
    write_image(target, Image(data, geometry))


def _fix_label(source: Path, target: Path, job: _Job, scheme: LabelScheme, left: set[str]) -> None:
    geometry, label = None, None
    try:
        raw = format_of(source).read_label(source)
        geometry = raw.geometry
        grey = "label_grey_as_colours" in job.kinds and is_grey(raw.data)
        label = (
            as_label(raw.data[:1] if grey else raw.data, source) if grey or raw.data.shape[0] == 1 else None
        )
    except DatasetError:
        label = None
    if (
        label is None or geometry is None
    ):  # a problem that is not mechanical; the file stays as it is and the problem in the report
        left |= job.kinds & (LABEL_VALUES | LABEL_HEADER)
        copy_image(source, target)
        return
    if "label_of_0_and_255" in job.kinds:
        if scheme.allowed_values == {0, 1}:
            label = (label == 255).astype(np.uint8)
        else:  # with several labels nobody but the user knows which one 255 means
            left.add("label_of_0_and_255")
    if job.renumber is not None:
        label = _renumbered(label, job.renumber)
    wanted = _first_geometry(job.files)
    if job.kinds & LABEL_HEADER and wanted is not None:
        if _header_can_be_replaced(geometry, wanted):
            geometry = wanted
        else:
            left |= job.kinds & LABEL_HEADER
    write_label(target, label[0], geometry)


def _header_can_be_replaced(found: Geometry, wanted: Geometry) -> bool:
    """Whether two headers describe one grid but for rounding or a lost origin: a flip or another spacing may
    be the truth."""
    alike = found.shape_zyx == wanted.shape_zyx and found.stored == wanted.stored
    return alike and bool(np.allclose(found.spacing_mm, wanted.spacing_mm, rtol=SPACING_SLACK, atol=0.0))


def _first_geometry(files: CaseFiles) -> Geometry | None:
    try:
        return format_of(files.images[0]).read_geometry(files.images[0])
    except DatasetError:
        return None


def _renumbering(scheme: LabelScheme) -> dict[int, int]:
    return {old: new for new, old in enumerate(sorted(scheme.allowed_values))}


def _renumbered(label: npt.NDArray[Any], renumber: Mapping[int, int]) -> npt.NDArray[Any]:
    present = label_values(label)
    table = np.arange(max((*present, *renumber)) + 1, dtype=np.uint16)
    for old, new in renumber.items():
        table[old] = new
    return np.asarray(table[label])


def _copy_incomplete_cases(dataset: RawDataset, new: Path, training: Mapping[str, CaseFiles]) -> None:
    """Cases that lack a file, and labels whose image does, are the user's to fix; they go along as they
    are."""
    ending = dataset.description.file_ending
    if dataset.description.listed is not None:
        return
    for subfolder in (IMAGES_TR, IMAGES_TS):
        if not (dataset.folder / subfolder).is_dir():
            continue
        scan = scan_images(dataset.folder / subfolder, ending)
        for case, found in scan.channels.items():
            for path in found.values():
                if not (new / subfolder / path.name).exists():
                    copy_image(path, new / subfolder / path.name)
            label = find_label(dataset.folder / LABELS_TR, case, ending)
            if subfolder == IMAGES_TR and case not in training and label.is_file():
                copy_image(label, new / LABELS_TR / label.name)
        for path in scan.strays:
            if path.is_file() and path.name.endswith(ending):
                copy_image(path, new / subfolder / path.name)


def _drop_last_channel(content: dict[str, Any]) -> None:
    for key in ("channel_names", "modality"):
        if isinstance(names := content.get(key), dict) and names:
            del names[max(names, key=int)]


def _write_description(
    folder: Path, new: Path, cases: int, renumber: Mapping[int, int] | None, drop_last_channel: bool
) -> None:
    content: dict[str, Any] = read_json(folder / DESCRIPTION)
    if drop_last_channel:
        _drop_last_channel(content)
    content.pop("dataset", None)  # the files have the names that the format asks for now
    content["numTraining"] = cases
    if renumber is not None:
        content["labels"] = {
            name: [renumber[int(item)] for item in value] if isinstance(value, list) else renumber[int(value)]
            for name, value in content["labels"].items()
        }
        if content.get("regions_class_order"):
            content["regions_class_order"] = [
                renumber.get(int(value), int(value)) for value in content["regions_class_order"]
            ]
    write_json(new / DESCRIPTION, content)
    for name in (SPLITS_FINAL, GROUPS):
        if (folder / name).is_file():
            copy_file(folder / name, new / name)
