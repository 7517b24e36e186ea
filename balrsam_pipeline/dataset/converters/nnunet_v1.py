"""nnU-Net v1 raw folders (Task004_Hippocampus): the files are named as today, dataset.json is not."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from balrsam_pipeline.dataset.cases import CaseFiles, image_cases, scan_images, with_labels
from balrsam_pipeline.dataset.converters.conversion import (
    Conversion,
    Converted,
    channels_from_v1,
    finish,
    labels_from_v1,
    read_v1_json,
    run_all,
)
from balrsam_pipeline.dataset.converters.source_files import warn_of_passed_over
from balrsam_pipeline.dataset.new_folder import copy_file, new_folder
from balrsam_pipeline.layout import DESCRIPTION, IMAGES_TR, IMAGES_TS, LABELS_TR

ENDING = ".nii.gz"  # the only one of nnU-Net v1


def convert_nnunet_v1(conversion: Conversion) -> Converted:
    """Copy the images and labels, and write dataset.json anew.

    Raises:
        DatasetError: dataset.json is malformed, or a channel or label file is missing.
    """
    content, where = read_v1_json(conversion.source), conversion.source / DESCRIPTION
    names = conversion.channel_names or channels_from_v1(content, where)
    labels_folder = conversion.source / LABELS_TR
    training = with_labels(_cases(conversion.source / IMAGES_TR, len(names)), labels_folder, ENDING)
    used = {files.label for files in training.values()}
    lone = (path for path in labels_folder.iterdir() if path not in used)
    warn_of_passed_over(labels_folder, lone, "labels of no image")
    tests = conversion.source / IMAGES_TS
    test = _cases(tests, len(names), may_be_empty=True) if tests.is_dir() else {}
    with new_folder(conversion.target, conversion.source, conversion.made_of()) as new:
        run_all(partial(_copy_case, new=new, images=IMAGES_TR), training, conversion.workers)
        run_all(partial(_copy_case, new=new, images=IMAGES_TS), test, conversion.workers)
        others = {key: content.get(key) for key in ("name", "description", "reference", "licence", "release")}
        labels = dict(conversion.labels) or labels_from_v1(content, where)
        return finish(new, conversion, names, labels, ENDING, **others)


def _cases(folder: Path, channels: int, *, may_be_empty: bool = False) -> dict[str, CaseFiles]:
    """The cases of a folder of images; what is none is named in a warning."""
    scan = scan_images(folder, ENDING)
    warn_of_passed_over(folder, scan.strays, "no images called CASE_0000")
    return image_cases(folder, ENDING, channels) if scan.channels or not may_be_empty else {}


def _copy_case(files: CaseFiles, new: Path, images: str) -> bool:
    for path in files.images:
        copy_file(path, new / images / path.name)
    if files.label is not None:
        copy_file(files.label, new / LABELS_TR / files.label.name)
    return True
