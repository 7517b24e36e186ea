"""Reading one case and checking it in the same pass: what it is (facts) and what is wrong with it
(problems)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from balrsam_pipeline.dataset.cases import CaseFiles
from balrsam_pipeline.dataset.description import DatasetDescription
from balrsam_pipeline.dataset.integrity.checks.geometry import (
    check_header,
    check_same_grid,
    check_spacing,
    check_spacing_file,
    check_turned,
)
from balrsam_pipeline.dataset.integrity.checks.intensities import check_channels, check_intensities
from balrsam_pipeline.dataset.integrity.checks.labels import (
    check_label_inside,
    check_stored_label,
    check_values,
)
from balrsam_pipeline.dataset.integrity.report import Problem, problem_of
from balrsam_pipeline.dataset.raw import label_values
from balrsam_pipeline.errors import DatasetError, ImageError
from balrsam_pipeline.imageio import Image, read_image
from balrsam_pipeline.imageio.formats import format_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """What checks across cases need to know of a case.

    Attributes:
        image_sha256: of the voxels (not of the file, so that recompressed or renamed copies are found); "" if
            unreadable.
        dimension: 2 or 3; 0 if unreadable.
        label_values: the values that occur in its label; None where it has none or it is unreadable.
    """

    case: str
    image_sha256: str = ""
    dimension: int = 0
    orientation: str = ""
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    label_values: tuple[int, ...] | None = None
    problems: tuple[Problem, ...] = ()


COMMON_FACTS = ("orientation", "spacing_mm", "label_values")  # which many cases have alike


@dataclass(frozen=True, slots=True)
class InspectedCase:
    """A case as read, and what was found; image and label are None where they cannot be used."""

    image: Image | None
    label: Image | None
    facts: CaseFacts


def inspect_case(files: CaseFiles, description: DatasetDescription) -> InspectedCase:
    """Read all files of a case once and check everything that concerns it alone; no file, however broken,
    raises."""
    problems: list[Problem] = []
    image = _read_channels(files, problems)
    label = _read_label(files, image, problems)
    values = label_values(label.data) if label is not None else None
    if image is None:
        return InspectedCase(
            None, label, CaseFacts(case=files.case, label_values=values, problems=tuple(problems))
        )
    for path in (*files.images, *([files.label] if files.label else [])):
        problems += check_header(files.case, path)
    problems += check_channels(files.case, image.data, description)
    problems += check_intensities(files.case, image.data, description, one_file=len(files.images) == 1)
    problems += check_spacing(files.case, image.geometry)
    problems += check_spacing_file(files.case, files.images[0], image.geometry)
    if label is not None and values is not None and files.label is not None:
        same_shape = label.geometry.shape_zyx == image.geometry.shape_zyx
        problems += check_same_grid(files.case, "label", label.geometry, image.geometry)
        problems += check_turned(files.case, files.images[0], files.label, same_shape)
        problems += check_values(files.case, label.data, values, description.labels)
        problems += check_label_inside(files.case, image.data, label.data, description)
    facts = CaseFacts(
        case=files.case,
        image_sha256=voxels_sha256(image),
        dimension=image.geometry.dimension,
        orientation=image.geometry.orientation,
        spacing_mm=image.geometry.spacing_mm,
        label_values=values,
        problems=tuple(problems),
    )
    return InspectedCase(image, label, facts)


def voxels_sha256(image: Image) -> str:
    """SHA-256 of the voxels, their type and their shape."""
    digest = hashlib.sha256(f"{image.data.dtype.str} {image.data.shape}".encode())
    digest.update(np.ascontiguousarray(image.data).data)
    return digest.hexdigest()


def _read_channels(files: CaseFiles, problems: list[Problem]) -> Image | None:
    channels: list[Image] = []
    for path in files.images:
        try:
            channels.append(read_image([path]))
        except ImageError as error:
            problems.append(problem_of(error, "image_unreadable", files.case))
    if len(channels) < len(files.images) or any(channel.data.size == 0 for channel in channels):
        return None
    first = channels[0].geometry
    for index, channel in enumerate(channels[1:], 1):
        problems += check_same_grid(files.case, f"channel {index}", channel.geometry, first)
    if any(channel.geometry.shape_zyx != first.shape_zyx for channel in channels):
        return None
    if len(channels) == 1:
        return channels[0]
    return Image(np.concatenate([channel.data for channel in channels]), first)


def _read_label(files: CaseFiles, image: Image | None, problems: list[Problem]) -> Image | None:
    if files.label is None:
        return None
    try:
        raw = format_of(files.label).read_label(files.label)
        data, found = check_stored_label(files.case, raw.data)
    except DatasetError as error:
        problems.append(problem_of(error, "label_unreadable", files.case))
        return None
    problems += found
    if data is not None:
        return Image(data, raw.geometry)
    if image is not None:  # no label to check further, but its grid can be
        problems += check_same_grid(files.case, "label", raw.geometry, image.geometry)
    return None
