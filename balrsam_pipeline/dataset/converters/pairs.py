"""A folder of images and folders of masks, paired by name: what most public 2D data sets are."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from balrsam_pipeline.dataset.converters.conversion import Conversion, Converted, finish, run_all
from balrsam_pipeline.dataset.converters.pair_case import PNG, Made, Pair, Task, convert_case
from balrsam_pipeline.dataset.converters.pair_folders import find_folders
from balrsam_pipeline.dataset.converters.pairing import Pairing, pair_by_name, split_one_folder
from balrsam_pipeline.dataset.converters.source_files import (
    GIF,
    PICTURES,
    TIFFS,
    ending_of,
    image_files,
    listed,
    read_source_mask,
    stem_of,
)
from balrsam_pipeline.dataset.converters.value_map import (
    ALL,
    RANGE,
    Colour,
    all_colours,
    choose_value_map,
    count_colours,
    require_labels,
)
from balrsam_pipeline.dataset.new_folder import new_folder
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import FILE_ENDINGS, read_image, write_image
from balrsam_pipeline.imageio.colours import COLOURS, as_colours
from balrsam_pipeline.layout import IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS

LOG = logging.getLogger(__name__)
SOONER_HERE_BYTES = 32 << 20  # of images and masks: less than this is converted before processes have started


def convert_pairs(conversion: Conversion) -> Converted:
    """Convert `images/` and `masks/` (and `test/`, images without masks); masks are mapped to label values.

    Images and masks belong together as `pairing.pair_by_name` finds; several folders of masks are a label
    each. PNG, BMP, JPEG and GIF become PNG, so that labels can be PNG too, and TIFF among them; other formats
    are kept.

    Raises:
        DatasetError: a folder is missing, an image has no mask or a mask no image, formats are mixed that PNG
            does not hold, sizes or spacings differ, masks contradict each other, or a colour of the masks has
            no label value.
    """
    images, masks = find_folders(conversion)
    pairings = [_pairing(images, folder, conversion.pattern) for folder in masks]
    for folder, pairing in zip(masks, pairings, strict=True):
        LOG.info("images of %s and masks of %s paired by %s", images, folder, pairing.rule.says)
    pairs = _pairs(pairings, images, masks)
    test = _test_pairs(conversion, pairings[0])
    everything = [*pairs.values(), *test.values()]
    conversion = replace(conversion, workers=_workers(everything, conversion.workers))
    ending = _ending(everything, images)
    as_colours = any(colour[0] not in (RANGE, ALL) and len(colour) > 1 for colour in conversion.value_map)
    values = _value_maps(conversion, everything, as_colours, masks)
    labels = dict(conversion.labels) or _label_names(masks, values)
    _require_a_label_of_each_folder(masks, labels)
    task = Task(
        ending=ending,
        value_maps=values,
        as_colours=as_colours,
        fill=conversion.fill_outlines,
        channels=len(conversion.channel_names),
    )
    with new_folder(conversion.target, conversion.source, conversion.made_of()) as new:
        convert = partial(convert_case, task=task, new=new)
        made = run_all(partial(convert, folders=(IMAGES_TR, LABELS_TR)), pairs, conversion.workers)
        most = max(case.channels for case in made.values())
        names = conversion.channel_names or names_for(most)
        made = _with_colours(made, most, new / IMAGES_TR, ending, images)
        _require_channels(made, names, images)
        _tell(pairs, made, images, masks[0])
        made = run_all(partial(convert, folders=(IMAGES_TS, LABELS_TS)), test, conversion.workers)
        made = _with_colours(made, most, new / IMAGES_TS, ending, conversion.source / conversion.test)
        _require_channels(made, names, conversion.source / conversion.test)
        _tell_turned(made, conversion.source / conversion.test)
        _tell_elsewhere(made, conversion.source / conversion.test)
        aliases = {stem_of(path): pair.case for pair in pairs.values() for path in pair.files}
        return finish(new, conversion, names, labels, ending, aliases, name=conversion.source.name)


def _require_a_label_of_each_folder(masks: Sequence[Path], labels: Mapping[str, object]) -> None:
    """Of several folders of masks each makes a label, numbered in their order.

    Raises:
        DatasetError: the labels that the user named are not as many.
    """
    named = {name: value for name, value in labels.items() if name != "ignore"}
    if len(masks) == 1 or sorted(map(str, named.values())) == [str(n) for n in range(1, len(masks) + 1)]:
        return
    folders = [folder.name for folder in masks]
    raise DatasetError(
        "--labels",
        found=" ".join(f"{name}={value}" for name, value in labels.items()),
        expected=f"a label for each of the {len(folders)} folders of masks: {', '.join(folders)}",
        fix="--labels " + " ".join(f"{name}={value}" for value, name in enumerate(folders, 1)),
    )


def names_for(channels: int) -> tuple[str, ...]:
    """Channel names where the user gave none: red, green, blue for three, else numbered images."""
    return ("R", "G", "B") if channels == 3 else tuple(f"image{index or ''}" for index in range(channels))


def _workers(pairs: list[Pair], wanted: int) -> int:
    """Processes to use: none but this one for few and small files."""
    size = sum(path.stat().st_size for pair in pairs for path in pair.files)
    return 1 if size < SOONER_HERE_BYTES else wanted


def _pairs(pairings: list[Pairing], images: Path, masks: tuple[Path, ...]) -> dict[str, Pair]:
    """Case -> image, and its masks of every folder."""
    pairs = {}
    for case, (image, first) in pairings[0].pairs.items():
        others = []
        for folder, pairing in zip(masks[1:], pairings[1:], strict=True):
            by_image = dict(pairing.pairs.values())
            if image not in by_image:
                raise DatasetError(
                    folder,
                    found=f"no mask of {image.name}",
                    expected="in each folder of masks one of every image",
                    fix=f"save an empty one, or move the image out of {images}",
                )
            others.append(by_image[image])
        pairs[case] = Pair(case, image, (first, *others))
    return pairs


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


def _test_pairs(conversion: Conversion, training: Pairing) -> dict[str, Pair]:
    """Test images, with masks where a folder of them is named."""
    tests = conversion.source / conversion.test
    if conversion.test_masks:
        pairing = _pairing(tests, conversion.source / conversion.test_masks, conversion.pattern)
        return {case: Pair(case, image, (masks,)) for case, (image, masks) in pairing.pairs.items()}
    if not conversion.test or not tests.is_dir():
        return {}
    found: dict[str, Pair] = {}
    for path in image_files(tests):
        case = training.rule.image(stem_of(path)) or stem_of(path)
        if case in found:
            raise DatasetError(
                tests,
                found=f"{found[case].image.name} and {path.name}, both of case {case}",
                expected="one file per case",
                fix="rename one of them, or move it away",
            )
        found[case] = Pair(case, path)
    return found


def _value_maps(
    conversion: Conversion, pairs: list[Pair], as_colours: bool, folders: tuple[Path, ...]
) -> tuple[dict[Colour, int], ...]:
    """The map for all masks of each folder, of training and test cases."""
    maps = []
    for index, folder in enumerate(folders):
        masks = {str(path): path for pair in pairs if pair.masks for path in pair.masks[index]}
        found = run_all(partial(_count_colours, as_colours=as_colours), masks, conversion.workers)
        colours = all_colours(found.values())
        chosen = choose_value_map(colours, conversion.value_map, folder)
        require_labels(colours, chosen, folder)
        if len(folders) > 1 and set(chosen.values()) - {0, 1}:
            raise DatasetError(
                folder,
                found=f"masks of {len(set(chosen.values()) - {0})} labels",
                expected="one label per folder, where there are several folders of masks",
                fix="make all but black one label: --value-map all=1",
            )
        maps.append(chosen)
    return tuple(maps)


def _label_names(masks: tuple[Path, ...], maps: tuple[dict[Colour, int], ...]) -> dict[str, int]:
    """Labels where the user named none: of several folders theirs, in their order."""
    if len(masks) == 1:
        return {f"label_{value}": value for value in sorted(set(maps[0].values()) - {0})}
    names = [folder.name for folder in masks]
    if len(set(names)) < len(names):
        names = [f"{folder.parent.name}_{folder.name}" for folder in masks]
    return {name: value for value, name in enumerate(names, 1)}


def _count_colours(mask: Path, as_colours: bool) -> dict[Colour, int]:
    return count_colours(read_source_mask(mask, as_colours).data)


def _ending(pairs: list[Pair], folder: Path) -> str:
    """The ending of the new dataset: PNG for pictures, also with TIFF among them, else the one ending that
    all images have."""
    endings = {ending_of(pair.image) for pair in pairs}
    if endings <= set(PICTURES):
        return PNG
    if endings <= set(TIFFS):
        return sorted(endings)[0]
    if endings <= {*PICTURES, *TIFFS}:
        return PNG
    if len(endings) > 1:
        raise DatasetError(
            folder,
            found=f"images of {', '.join(sorted(endings))}",
            expected="one format, or pictures (PNG, BMP, JPEG, GIF, TIFF)",
            fix="convert them to one, or make two datasets",
        )
    return endings.pop()


def _with_colours(
    made: Mapping[str, Made], channels: int, folder: Path, ending: str, where: Path
) -> dict[str, Made]:
    """The same cases, with three equal channels where a grey picture is among coloured ones."""
    greys = [case for case, one in made.items() if channels == COLOURS and one.channels == 1]
    if not greys or ending not in (PNG, *TIFFS):
        return dict(made)
    for case in greys:
        path = folder / f"{case}_0000{ending}"
        image = read_image([path])
        if image.geometry.dimension == 3:
            return dict(made)
        write_image(path, as_colours(image))
    LOG.info(
        "%s: %d grey picture(s) among RGB ones have three equal channels now: %s",
        where,
        len(greys),
        listed(sorted(made[case].name for case in greys)),
    )
    return {**made, **{case: replace(made[case], channels=COLOURS) for case in greys}}


def _tell(pairs: Mapping[str, Pair], made: Mapping[str, Made], images: Path, masks: Path) -> None:
    """What the user should know of the training cases."""
    _tell_outlines(made, masks)
    _tell_turned(made, images)
    _tell_elsewhere(made, images)
    if clear := sorted(one.name for one in made.values() if one.transparent):
        LOG.info("%s: %d image(s) without their transparency channel: %s", images, len(clear), listed(clear))
    joined = [path.name for pair in pairs.values() for files in pair.masks for path in files[1:]]
    if joined:
        cases = sum(any(len(files) > 1 for files in pair.masks) for pair in pairs.values())
        LOG.info(
            "%s: %d further mask(s) joined with the first one of their image, in %d case(s): %s",
            masks,
            len(joined),
            cases,
            listed(joined),
        )


def _tell_outlines(made: Mapping[str, Made], where: Path) -> None:
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


def _tell_turned(made: Mapping[str, Made], where: Path) -> None:
    """Warn of masks that may have been drawn on pictures as they are stored, not as they stand upright."""
    if cases := sorted(case for case, one in made.items() if one.turned):
        LOG.warning(
            "%s: %d picture(s) are turned upright by their EXIF tag, and their masks have none: %s; look at "
            "some of them, and turn those masks that were drawn on the pictures as they are stored",
            where,
            len(cases),
            listed(cases),
        )


def _tell_elsewhere(made: Mapping[str, Made], where: Path) -> None:
    """Warn of masks whose headers place them elsewhere than their images."""
    if masks := [mask for one in made.values() for mask in one.elsewhere]:
        LOG.warning(
            "%s: %d mask(s) lie elsewhere than their images by their headers, and were laid on them voxel by "
            "voxel: %s; look at some of them, and resample those that do not fit",
            where,
            len(masks),
            listed(masks),
        )


def _require_channels(made: Mapping[str, Made], names: tuple[str, ...], where: Path) -> None:
    different = [case for case, one in made.items() if one.channels != len(names)]
    if different:
        raise DatasetError(
            where,
            found=f"{made[different[0]].channels} channel(s) in {', '.join(different[:6])}",
            expected=f"{len(names)}: {', '.join(names)}",
            fix="save all images as grey or all as RGB, or name the channels: --channels",
        )
