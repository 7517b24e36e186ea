"""A folder of images and a folder of masks, paired by name: what most public 2D data sets are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from balrsam_pipeline.dataset.converters.conversion import Conversion, Converted, finish, run_all
from balrsam_pipeline.dataset.converters.outlines import filled, is_outline
from balrsam_pipeline.dataset.converters.pair_folders import find_folders
from balrsam_pipeline.dataset.converters.pairing import Pairing, pair_by_name, split_one_folder
from balrsam_pipeline.dataset.converters.source_files import (
    GIF,
    PICTURES,
    ending_of,
    image_files,
    listed,
    read_source_image,
    read_source_mask,
    stem_of,
    turned_upright,
)
from balrsam_pipeline.dataset.converters.value_map import (
    ALL,
    RANGE,
    Colour,
    all_colours,
    apply_value_map,
    choose_value_map,
    count_colours,
    require_labels,
)
from balrsam_pipeline.dataset.new_folder import copy_image, new_folder
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import FILE_ENDINGS, Image, write_image, write_label
from balrsam_pipeline.layout import IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS

LOG = logging.getLogger(__name__)
SOONER_HERE_BYTES = 32 << 20  # of images and masks: less than this is converted before processes have started


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
    fill: bool


@dataclass(frozen=True, slots=True)
class _Made:
    """What a case turned out to be: how many channels, whether its mask is an outline, and whether the image
    alone is turned upright by its EXIF tag."""

    channels: int
    outline: bool
    turned: bool


def convert_pairs(conversion: Conversion) -> Converted:
    """Convert `images/` and `masks/` (and `test/`, images without masks); masks are mapped to label values.

    Images and masks belong together as `pairing.pair_by_name` finds. PNG, BMP, JPEG and GIF become PNG, so
    that labels can be PNG too; other formats are kept.

    Raises:
        DatasetError: a folder is missing, an image has no mask or a mask no image, formats are mixed, sizes
            differ, or a colour of the masks has no label value.
    """
    images, masks = find_folders(conversion)
    pairing = _pairing(images, masks, conversion.pattern)
    LOG.info("images of %s and masks of %s paired by %s", images, masks, pairing.rule.says)
    pairs = {case: _Pair(case, *files) for case, files in pairing.pairs.items()}
    test = _test_pairs(conversion, pairing)
    everything = [*pairs.values(), *test.values()]
    conversion = replace(conversion, workers=_workers(everything, conversion.workers))
    ending = _ending(everything, images)
    as_colours = any(colour[0] not in (RANGE, ALL) and len(colour) > 1 for colour in conversion.value_map)
    values = _value_map(conversion, everything, as_colours, masks)
    task = _Task(ending=ending, value_map=values, as_colours=as_colours, fill=conversion.fill_outlines)
    with new_folder(conversion.target, conversion.source, conversion.made_of()) as new:
        convert = partial(_convert_case, task=task, new=new)
        made = run_all(partial(convert, folders=(IMAGES_TR, LABELS_TR)), pairs, conversion.workers)
        names = conversion.channel_names or names_for(max(case.channels for case in made.values()))
        _require_channels(made, names, images)
        _tell_outlines(made, masks)
        _tell_turned(made, images)
        made = run_all(partial(convert, folders=(IMAGES_TS, LABELS_TS)), test, conversion.workers)
        _require_channels(made, names, conversion.source / conversion.test)
        _tell_turned(made, conversion.source / conversion.test)
        labels = dict(conversion.labels) or {
            f"label_{value}": value for value in sorted(set(values.values()) - {0})
        }
        aliases = {stem_of(path): case for case, files in pairing.pairs.items() for path in files}
        return finish(new, conversion, names, labels, ending, aliases, name=conversion.source.name)


def names_for(channels: int) -> tuple[str, ...]:
    """Channel names where the user gave none: red, green, blue for three, else numbered images."""
    return ("R", "G", "B") if channels == 3 else tuple(f"image{index or ''}" for index in range(channels))


def _workers(pairs: list[_Pair], wanted: int) -> int:
    """Processes to use: none but this one for few and small files."""
    files = [path for pair in pairs for path in (pair.image, pair.mask) if path is not None]
    return 1 if sum(path.stat().st_size for path in files) < SOONER_HERE_BYTES else wanted


def _pairing(images: Path, masks: Path, pattern: tuple[str, str] | None) -> Pairing:
    if images == masks:
        left, right = split_one_folder(image_files(images), pattern)
    else:
        left, right = image_files(images), image_files(masks)
    for files, folder in ((left, images), (right, masks)):
        if not files:
            raise DatasetError(
                folder,
                found="no image" if files is left else "no mask",
                expected=f"files ending in {', '.join((*FILE_ENDINGS, GIF))}",
                fix="check --images and --masks",
            )
    return pair_by_name(left, right, masks, pattern)


def _test_pairs(conversion: Conversion, training: Pairing) -> dict[str, _Pair]:
    """Test images, with masks where a folder of them is named."""
    tests = conversion.source / conversion.test
    if conversion.test_masks:
        pairing = _pairing(tests, conversion.source / conversion.test_masks, conversion.pattern)
        return {case: _Pair(case, *files) for case, files in pairing.pairs.items()}
    if not conversion.test or not tests.is_dir():
        return {}
    found: dict[str, _Pair] = {}
    for path in image_files(tests):
        case = training.rule.image(stem_of(path)) or stem_of(path)
        if case in found:
            raise DatasetError(
                tests,
                found=f"{found[case].image.name} and {path.name}, both of case {case}",
                expected="one file per case",
                fix="rename one of them, or move it away",
            )
        found[case] = _Pair(case, path)
    return found


def _value_map(
    conversion: Conversion, pairs: list[_Pair], as_colours: bool, where: Path
) -> dict[Colour, int]:
    """The map for all masks, of training and test cases."""
    masks = {str(pair.mask): pair.mask for pair in pairs if pair.mask is not None}
    found = run_all(partial(_count_colours, as_colours=as_colours), masks, conversion.workers)
    colours = all_colours(found.values())
    chosen = choose_value_map(colours, conversion.value_map, where)
    require_labels(colours, chosen, where)
    return chosen


def _count_colours(mask: Path, as_colours: bool) -> dict[Colour, int]:
    return count_colours(read_source_mask(mask, as_colours))


def _convert_case(pair: _Pair, task: _Task, new: Path, folders: tuple[str, str]) -> _Made:
    """Write one case into the folders of images and of labels."""
    target, source_ending = new / folders[0] / f"{pair.case}_0000{task.ending}", ending_of(pair.image)
    image = read_source_image(pair.image)
    if source_ending in PICTURES and image.data.shape[0] in (2, 4):  # the last one is transparency
        image = Image(image.data[:-1], image.geometry)
        write_image(target, image)
    elif source_ending == task.ending and source_ending not in PICTURES:
        copy_image(pair.image, target)
    else:  # another format, or a palette, becomes plain colours
        write_image(target, image)
    outline = turned = False
    if pair.mask is not None:
        turned = turned_upright(pair.image) not in (1, turned_upright(pair.mask))
        mask = read_source_mask(pair.mask, task.as_colours)
        if mask.shape[1:] != image.data.shape[1:]:
            raise DatasetError(
                pair.mask,
                found=f"{mask.shape[1:]} voxels (z, y, x)",
                expected=f"{image.data.shape[1:]}, as {pair.image.name}",
                fix="export the mask in the size of its image"
                if not turned
                else "the image is turned upright by its EXIF tag and the mask is not: turn the mask "
                "likewise, or remove the tag from a copy of the image (exiftool -Orientation= FILE)",
            )
        label = apply_value_map(mask, task.value_map)
        label = filled(label) if task.fill else label
        outline = is_outline(label)
        write_label(new / folders[1] / f"{pair.case}{task.ending}", label, image.geometry)
    return _Made(int(image.data.shape[0]), outline, turned)


def _ending(pairs: list[_Pair], folder: Path) -> str:
    """The ending of the new dataset: PNG for pictures, else the one ending that all images have."""
    endings = {ending_of(pair.image) for pair in pairs}
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


def _tell_outlines(made: Mapping[str, _Made], where: Path) -> None:
    """Warn where most masks are lines around what they mean."""
    count = sum(case.outline for case in made.values())
    if 2 * count > len(made):
        LOG.warning(
            "%s: %d of %d masks are outlines, and what they enclose is background; if it is meant, convert "
            "again with --fill-outlines",
            where,
            count,
            len(made),
        )


def _tell_turned(made: Mapping[str, _Made], where: Path) -> None:
    """Warn of masks that may have been drawn on pictures as they are stored, not as they stand upright."""
    if cases := sorted(case for case, one in made.items() if one.turned):
        LOG.warning(
            "%s: %d picture(s) are turned upright by their EXIF tag, and their masks have none: %s; look at "
            "some of them, and turn those masks that were drawn on the pictures as they are stored",
            where,
            len(cases),
            listed(cases),
        )


def _require_channels(made: Mapping[str, _Made], names: tuple[str, ...], where: Path) -> None:
    different = [case for case, one in made.items() if one.channels != len(names)]
    if different:
        raise DatasetError(
            where,
            found=f"{made[different[0]].channels} channel(s) in {', '.join(different[:6])}",
            expected=f"{len(names)}: {', '.join(names)}",
            fix="save all images as grey or all as RGB, or name the channels: --channels",
        )
