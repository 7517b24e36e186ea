"""A folder of images and a folder of masks, paired by name: what most public 2D data sets are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from balrsam_pipeline.dataset.converters.conversion import Conversion, Converted, run_all, write_dataset_json
from balrsam_pipeline.dataset.converters.value_map import (
    RANGE,
    Colour,
    apply_value_map,
    choose_value_map,
    mask_colours,
)
from balrsam_pipeline.dataset.new_folder import copy_image, new_folder
from balrsam_pipeline.errors import DatasetError, ImageError
from balrsam_pipeline.imageio import (
    FILE_ENDINGS,
    Image,
    as_label,
    file_ending_of,
    read_image,
    write_image,
    write_label,
)
from balrsam_pipeline.imageio.formats import format_of
from balrsam_pipeline.layout import IMAGES_TR, IMAGES_TS, LABELS_TR

MASK_WORDS = re.compile(
    r"(^(mask|seg|label|gt)[_\-.]+)|([_\-.]*(mask|masks|seg|segmentation|label|labels|gt|groundtruth|annotation)$)",
    re.IGNORECASE,
)
IMAGE_WORDS = re.compile(r"(^(image|img)[_\-.]+)|([_\-.]+(image|img|0000)$)", re.IGNORECASE)
PICTURES = (".png", ".bmp", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class _Pair:
    case: str
    image: Path
    mask: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    ending: str
    value_map: Mapping[Colour, int]
    as_colours: bool


def convert_pairs(conversion: Conversion) -> Converted:
    """Convert `images/` and `masks/` (and `test/`, images without masks); masks are mapped to label values.

    Images and masks belong together when their names agree but for words such as "mask", "seg" or "image".
    PNG, BMP and JPEG become PNG, so that labels can be PNG too; other formats are kept.

    Raises:
        DatasetError: a folder is missing, an image has no mask or a mask no image, formats are mixed, sizes
            differ, or a colour of the masks has no label value.
    """
    images, masks = conversion.source / conversion.images, conversion.source / conversion.masks
    masks_of = _by_case(masks, MASK_WORDS)
    pairs = _pair(_by_case(images, IMAGE_WORDS), masks_of, images, masks)
    tests = conversion.source / conversion.test
    test = (
        {case: _Pair(case, path) for case, path in _by_case(tests, IMAGE_WORDS).items()}
        if tests.is_dir()
        else {}
    )
    ending = _ending([*pairs.values(), *test.values()], images)
    as_colours = any(len(colour) > 1 and colour[0] != RANGE for colour in conversion.value_map)
    colours = run_all(
        partial(_mask_colours, as_colours=as_colours),
        {case: masks_of[case] for case in pairs},
        conversion.workers,
    )
    value_map = choose_value_map(
        [colour for found in colours.values() for colour in found], conversion.value_map, masks
    )
    task = _Task(ending=ending, value_map=value_map, as_colours=as_colours)
    with new_folder(conversion.target, conversion.source) as new:
        counts = run_all(partial(_convert_case, task=task, new=new / IMAGES_TR), pairs, conversion.workers)
        names = conversion.channel_names or names_for(max(counts.values()))
        _require_channels(counts, names, images)
        counts = run_all(partial(_convert_case, task=task, new=new / IMAGES_TS), test, conversion.workers)
        _require_channels(counts, names, tests)
        labels = dict(conversion.labels) or {
            f"label_{value}": value for value in sorted(set(value_map.values()) - {0})
        }
        write_dataset_json(new, names, labels, ending, name=conversion.source.name)
    return Converted(target=conversion.target, training_cases=len(pairs), test_cases=len(test))


def names_for(channels: int) -> tuple[str, ...]:
    """Channel names where the user gave none: red, green, blue for three, else numbered images."""
    return ("R", "G", "B") if channels == 3 else tuple(f"image{index or ''}" for index in range(channels))


def _convert_case(pair: _Pair, task: _Task, new: Path) -> int:
    """Write one case; returns its number of channels."""
    target, source_ending = new / f"{pair.case}_0000{task.ending}", file_ending_of(pair.image)
    image = read_image([pair.image])
    if source_ending in PICTURES and image.data.shape[0] in (2, 4):  # the last one is transparency
        image = Image(image.data[:-1], image.geometry)
        write_image(target, image)
    elif source_ending == task.ending and source_ending not in PICTURES:
        copy_image(pair.image, target)
    else:  # another format, or a palette, becomes plain colours
        write_image(target, image)
    if pair.mask is not None:
        mask = _read_mask(pair.mask, task.as_colours)
        if mask.shape[1:] != image.data.shape[1:]:
            raise DatasetError(
                pair.mask,
                found=f"{mask.shape[1:]} voxels (z, y, x)",
                expected=f"{image.data.shape[1:]}, as {pair.image.name}",
                fix="export the mask in the size of its image",
            )
        label = apply_value_map(mask, task.value_map)
        write_label(new.parent / LABELS_TR / f"{pair.case}{task.ending}", label, image.geometry)
    return int(image.data.shape[0])


def _mask_colours(mask: Path, as_colours: bool) -> tuple[Colour, ...]:
    return mask_colours(_read_mask(mask, as_colours))


def _read_mask(path: Path, as_colours: bool) -> npt.NDArray[Any]:
    """Whole numbers (channel, z, y, x); a palette is looked up only where the value map speaks of colours."""
    form = format_of(path)
    return as_label((form.read if as_colours else form.read_label)(path).data, path)


def _by_case(folder: Path, words: re.Pattern[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise DatasetError(
            folder,
            found="no such folder",
            expected="a folder of images and one of masks",
            fix="name them: --images FOLDER --masks FOLDER (inside the source)",
        )
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        try:
            ending = file_ending_of(path)
        except ImageError:
            continue
        if path.name.startswith("."):
            continue
        case = words.sub("", path.name[: -len(ending)]) or path.name[: -len(ending)]
        if case in found:
            raise DatasetError(
                folder,
                found=f"{found[case].name} and {path.name}, both of case {case}",
                expected="one file per case",
                fix="rename one of them, or move it away",
            )
        found[case] = path
    return found


def _pair(
    images: dict[str, Path], masks: dict[str, Path], image_folder: Path, mask_folder: Path
) -> dict[str, _Pair]:
    for missing, folder, what in (
        (sorted(set(images) - set(masks)), mask_folder, "mask"),
        (sorted(set(masks) - set(images)), image_folder, "image"),
    ):
        if missing:
            raise DatasetError(
                folder,
                found=f"no {what} for {len(missing)} case(s): {', '.join(missing[:6])}",
                expected="names that agree but for words such as mask, seg, image",
                fix=f"rename or add the {what}s; images without masks belong in test/",
            )
    if not images:
        raise DatasetError(
            image_folder,
            found="no image",
            expected=f"files ending in {', '.join(FILE_ENDINGS)}",
            fix="check --images and --masks",
        )
    return {case: _Pair(case, image, masks[case]) for case, image in images.items()}


def _ending(pairs: list[_Pair], folder: Path) -> str:
    """The ending of the new dataset: PNG for PNG, BMP and JPEG, else the one ending that all images have."""
    endings = {file_ending_of(pair.image) for pair in pairs}
    if endings <= set(PICTURES):
        return ".png"
    if len(endings) > 1:
        raise DatasetError(
            folder,
            found=f"images of {', '.join(sorted(endings))}",
            expected="one format",
            fix="convert them to one, or make two datasets",
        )
    return endings.pop()


def _require_channels(counts: Mapping[str, int], names: tuple[str, ...], where: Path) -> None:
    different = [case for case, count in counts.items() if count != len(names)]
    if different:
        raise DatasetError(
            where,
            found=f"{counts[different[0]]} channel(s) in {', '.join(different[:6])}",
            expected=f"{len(names)}: {', '.join(names)}",
            fix="save all images as grey or all as RGB, or name the channels: --channels",
        )
