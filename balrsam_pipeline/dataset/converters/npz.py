"""`.npz` files with an image (`imgs`) and its label map (`gts`) each, as CVPR challenges hand them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.dataset.converters.conversion import IMAGES, Conversion, Converted, finish, run_all
from balrsam_pipeline.dataset.converters.pairs import names_for
from balrsam_pipeline.dataset.converters.source_files import warn_of_passed_over
from balrsam_pipeline.dataset.converters.value_map import (
    Colour,
    all_colours,
    apply_value_map,
    choose_value_map,
    count_colours,
    require_labels,
)
from balrsam_pipeline.dataset.new_folder import new_folder
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import Image, read_geometry, read_image, read_label, write_image, write_label
from balrsam_pipeline.imageio.npz import DRAWN, ENDING, holds
from balrsam_pipeline.layout import IMAGES_TR, IMAGES_TS, LABELS_TR

VOLUMES, PICTURES = ".nii.gz", ".png"  # what they become


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """Where a case goes, and what its label values become."""

    new: Path
    ending: str
    value_map: Mapping[Colour, int]


def convert_npz(conversion: Conversion) -> Converted:
    """Convert the files of the source, or of its folder `images`: those with `gts`, or with a file of the
    same name in `masks`, are for training, those of `test` and those without are test images. Volumes become
    NIfTI, pictures PNG; colours of volumes become one file each.

    Raises:
        DatasetError: no file, two of one case, volumes and pictures together, numbers of channels that
            differ, or a value of the label maps that is no label.
    """
    training, test = _cases(conversion)
    ending = _ending([*training, *test.values()], conversion.source)
    labels = dict(conversion.labels)
    values = _value_map(conversion, training)
    with new_folder(conversion.target, conversion.source, conversion.made_of()) as new:
        task = _Task(new=new, ending=ending, value_map=values)
        jobs: dict[str, tuple[Path, Path | None]] = {
            f"{IMAGES_TR}/{path.stem}": (path, label) for path, label in training.items()
        }
        jobs |= {f"{IMAGES_TS}/{case}": (path, None) for case, path in test.items()}
        channels = run_all(partial(_convert, task=task), jobs, conversion.workers)
        names = conversion.channel_names or names_for(max(channels.values()))
        others = [case for case, count in channels.items() if count != len(names)]
        if others:
            raise DatasetError(
                conversion.source,
                found=f"{channels[others[0]]} channel(s) in {', '.join(others[:6])}",
                expected=f"{len(names)}: {', '.join(names)}",
                fix="convert grey and coloured images apart, or name the channels: --channels",
            )
        labels = labels or {f"label_{value}": value for value in sorted(set(values.values()) - {0})}
        return finish(new, conversion, names, labels, ending, name=conversion.source.name)


def _cases(conversion: Conversion) -> tuple[dict[Path, Path], dict[str, Path]]:
    """Image file -> the file of its label map; and test case -> image file."""
    source = conversion.source
    named = source / conversion.images
    folder = named if named.is_dir() or conversion.images != IMAGES else source
    files, masks = _files(folder), source / conversion.masks
    if not files:
        raise DatasetError(
            folder,
            found=f"no {ENDING} file",
            expected=f"CASE{ENDING} with 'imgs' and '{DRAWN}'",
            fix="check the path, or name the folder inside it: --images FOLDER",
        )
    others = (path for path in folder.iterdir() if path.is_file() and path.suffix.lower() != ENDING)
    warn_of_passed_over(folder, others, f"no {ENDING} files")
    training: dict[Path, Path] = {}
    for path in files:
        apart = masks / path.name
        if apart.is_file() and apart != path:
            training[path] = apart
        elif holds(path, DRAWN):
            training[path] = path
    if not training:
        raise DatasetError(
            folder,
            found=f"no '{DRAWN}' in {len(files)} files",
            expected="label maps in the files, or in files of the same names in another folder",
            fix="name that folder: --masks FOLDER",
        )
    tests = source / conversion.test if conversion.test else None
    unlabelled = _files(tests) if tests is not None and tests.is_dir() and tests != folder else []
    _by_case(training)
    return training, _by_case(path for path in [*files, *unlabelled] if path not in training)


def _by_case(files: Iterable[Path]) -> dict[str, Path]:
    """Case -> its file.

    Raises:
        DatasetError: two files of one case.
    """
    found: dict[str, Path] = {}
    for path in files:
        first = found.setdefault(path.stem, path)
        if first != path:
            raise DatasetError(
                path,
                found=f"a second file of case {path.stem}: there is {first}, too",
                expected="one file per case, named after it",
                fix="rename one of them, or move it elsewhere",
            )
    return found


def _files(folder: Path) -> list[Path]:
    files = [
        path for path in sorted(folder.iterdir()) if path.suffix.lower() == ENDING and path.name[0] != "."
    ]
    for path in files:
        require_case_name(path.stem, path)
    return files


def _ending(files: Sequence[Path], where: Path) -> str:
    dimensions = {path: read_geometry(path).dimension for path in files}
    if len(set(dimensions.values())) > 1:
        raise DatasetError(
            where,
            found=f"{sum(value == 2 for value in dimensions.values())} pictures among volumes",
            expected="one kind",
            fix="convert them apart",
        )
    return PICTURES if 2 in dimensions.values() else VOLUMES


def _value_map(conversion: Conversion, training: Mapping[Path, Path]) -> dict[Colour, int]:
    """Values of the label maps -> label values; named labels are taken as they are."""
    jobs = {path.stem: label for path, label in training.items()}
    found = run_all(_values, jobs, conversion.workers)
    values = all_colours(found.values())
    given = dict(conversion.value_map) or {(value,): value for value in conversion.labels.values()}
    chosen = choose_value_map(values, given, conversion.source)
    require_labels(values, chosen, conversion.source)
    return chosen


def _values(label: Path) -> dict[Colour, int]:
    return count_colours(read_label(label).data)


def _convert(files: tuple[Path, Path | None], task: _Task) -> int:
    """Write one case; returns how many channels it has."""
    path, label_file = files
    image = read_image([path])
    folder = task.new / (IMAGES_TS if label_file is None else IMAGES_TR)
    parts = [image.data] if task.ending == PICTURES else [channel[None] for channel in image.data]
    for number, part in enumerate(parts):
        write_image(folder / f"{path.stem}_{number:04d}{task.ending}", Image(part, image.geometry))
    if label_file is not None:
        drawn = read_label(label_file)
        if drawn.data.shape[1:] != image.data.shape[1:]:
            raise DatasetError(
                label_file,
                found=f"{DRAWN} of {drawn.data.shape[1:]} voxels (z, y, x)",
                expected=f"{image.data.shape[1:]}, as the image",
                fix="leave the case out, or save it again",
            )
        label = apply_value_map(drawn.data, task.value_map)
        write_label(task.new / LABELS_TR / f"{path.stem}{task.ending}", label, image.geometry)
    return int(image.data.shape[0])
