"""Medical Segmentation Decathlon folders: one NIfTI per case, several channels on its fourth axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from balrsam_pipeline.dataset.converters.conversion import (
    Conversion,
    Converted,
    channels_from_v1,
    labels_from_v1,
    read_v1_json,
    run_all,
    write_dataset_json,
)
from balrsam_pipeline.dataset.new_folder import copy_file, new_folder
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import Image, write_image
from balrsam_pipeline.imageio.nifti import count_axes, read_four_axes
from balrsam_pipeline.layout import DESCRIPTION, IMAGES_TR, IMAGES_TS, LABELS_TR

ENDING = ".nii.gz"


@dataclass(frozen=True, slots=True)
class _Job:
    image: Path
    label: Path | None
    channels: int
    target: Path  # folder of the image files


def convert_decathlon(conversion: Conversion) -> Converted:
    """Convert a folder such as Task01_BrainTumour; images of several channels are split into one file each.

    Raises:
        DatasetError: dataset.json is malformed, a listed file is missing or damaged, or an image has other
            channels than stated.
    """
    content, where = read_v1_json(conversion.source), conversion.source / DESCRIPTION
    names = conversion.channel_names or channels_from_v1(content, where)
    find = partial(_path, conversion.source, where)
    training = [(find(entry, "image"), find(entry, "label")) for entry in _entries(content, "training")]
    test = [find(entry, "image") for entry in _entries(content, "test")]
    if not training:
        raise DatasetError(
            where,
            found='no "training" entries',
            expected="images with labels",
            fix="download the dataset again",
        )
    with new_folder(conversion.target, conversion.source) as new:
        (new / LABELS_TR).mkdir()
        jobs = {
            f"{IMAGES_TR}/{image.name}": _Job(image, label, len(names), new / IMAGES_TR)
            for image, label in training
        }
        jobs |= {
            f"{IMAGES_TS}/{image.name}": _Job(image, None, len(names), new / IMAGES_TS) for image in test
        }
        run_all(_convert_case, jobs, conversion.workers)
        others = {key: content.get(key) for key in ("name", "description", "reference", "licence", "release")}
        write_dataset_json(
            new, names, dict(conversion.labels) or labels_from_v1(content, where), ENDING, **others
        )
    return Converted(target=conversion.target, training_cases=len(training), test_cases=len(test))


def _convert_case(job: _Job) -> bool:
    case = job.image.name.removesuffix(ENDING)
    if count_axes(job.image) == 3 and job.channels == 1:
        copy_file(job.image, job.target / f"{case}_0000{ENDING}")
    else:
        image = read_four_axes(job.image)
        if image.data.shape[0] != job.channels:
            raise DatasetError(
                job.image,
                found=f"{image.data.shape[0]} channel(s)",
                expected=f"{job.channels}, as dataset.json says",
                fix='correct "modality" in dataset.json, or name the channels: --channels',
            )
        for index in range(job.channels):
            write_image(
                job.target / f"{case}_{index:04d}{ENDING}",
                Image(image.data[index : index + 1], image.geometry),
            )
    if job.label is not None:
        copy_file(job.label, job.target.parent / LABELS_TR / f"{case}{ENDING}")
    return True


def _entries(content: dict[str, Any], key: str) -> Iterable[Any]:
    entries = content.get(key)
    return entries if isinstance(entries, list) else []


def _path(source: Path, where: Path, entry: Any, key: str) -> Path:
    name = entry.get(key) if isinstance(entry, dict) else entry
    path = source / str(name)
    if not isinstance(name, str) or not path.is_file() or not path.name.endswith(ENDING):
        raise DatasetError(
            where,
            found=f"{key} {str(name)!r}, which is no NIfTI file there",
            expected=f"paths of {ENDING} files inside {source.name}",
            fix="unpack the whole archive again, or remove the entry",
        )
    return path
