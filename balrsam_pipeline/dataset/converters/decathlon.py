"""Medical Segmentation Decathlon folders: one NIfTI per case, several channels on its fourth axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.dataset.converters.conversion import (
    Conversion,
    Converted,
    channels_from_v1,
    finish,
    labels_from_v1,
    read_v1_json,
    run_all,
)
from balrsam_pipeline.dataset.new_folder import copy_file, new_folder
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import Image, write_image
from balrsam_pipeline.imageio.nifti import count_axes, read_four_axes
from balrsam_pipeline.layout import DESCRIPTION, IMAGES_TR, IMAGES_TS, LABELS_TR
from balrsam_pipeline.paths import is_there

ENDING = ".nii.gz"


@dataclass(frozen=True, slots=True)
class _Job:
    case: str
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
    with new_folder(conversion.target, conversion.source, conversion.made_of()) as new:
        (new / LABELS_TR).mkdir()
        jobs = {
            f"{IMAGES_TR}/{case}": _Job(case, image, label, len(names), new / IMAGES_TR)
            for case, (image, label) in _named(training, where).items()
        }
        jobs |= {
            f"{IMAGES_TS}/{case}": _Job(case, image, None, len(names), new / IMAGES_TS)
            for case, (image, _) in _named([(image, None) for image in test], where).items()
        }
        run_all(_convert_case, jobs, conversion.workers)
        others = {key: content.get(key) for key in ("name", "description", "reference", "licence", "release")}
        labels = dict(conversion.labels) or labels_from_v1(content, where)
        return finish(new, conversion, names, labels, ENDING, **others)


def _named(pairs: Sequence[tuple[Path, Path | None]], where: Path) -> dict[str, tuple[Path, Path | None]]:
    """Case -> image and label: called by the file, or by folder and file where files of several folders have
    one name.

    Raises:
        DatasetError: two entries are one file, or cannot be told apart so; none may vanish under another.
    """
    for name in (_by_file, _by_folder):
        named = {name(image): (image, label) for image, label in pairs}
        if len(named) == len(pairs):
            for case in named:
                require_case_name(case, where)
            return named
    seen = Counter(_by_folder(image) for image, _ in pairs)
    twice = next(image for image, _ in pairs if seen[_by_folder(image)] > 1)
    raise DatasetError(
        where,
        found=f"{seen[_by_folder(twice)]} entries for case {_by_folder(twice)}, such as {twice}",
        expected="one entry for each file, with names or folders that differ",
        fix="remove the entry that is there twice, or rename files, and convert again",
    )


def _by_file(image: Path) -> str:
    return image.name.removesuffix(ENDING)


def _by_folder(image: Path) -> str:
    return f"{image.parent.name}_{_by_file(image)}"


def _convert_case(job: _Job) -> bool:
    case = job.case
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
    inside = path.is_relative_to(source) and ".." not in path.relative_to(source).parts
    if not isinstance(name, str) or not inside or not is_there(path) or not path.name.endswith(ENDING):
        raise DatasetError(
            where,
            found=f"{key} {str(name)!r}, which is no NIfTI file there",
            expected=f"paths of {ENDING} files inside {source.name}",
            fix="unpack the whole archive again, or remove the entry",
        )
    return path
