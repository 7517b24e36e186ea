"""What `-i` names: a folder, image files, or a text file that lists them, sorted into cases."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.files import read_text
from balrsam_pipeline.imageio import (
    ALL_ENDINGS,
    PICTURE_ENDINGS,
    file_ending_of,
    format_of,
    images_among,
    unread_images,
)
from balrsam_pipeline.imageio.formats import NATURAL_ENDINGS, known_ending
from balrsam_pipeline.printable import listed

LOG = logging.getLogger(__name__)
Files = TypeVar("Files")  # of a case
MOST_FOLDERS = 10  # sub-folders that are listed, for a note
CHANNEL = re.compile(r"(.+)_([0-9]{4})", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Complete cases, those that cannot be predicted with the reason, and all files that were found."""

    cases: dict[str, CaseFiles]
    refused: dict[str, BalrsamError]
    files: tuple[Path, ...] = ()


def find_cases(paths: Sequence[Path], channels: int, file_ending: str) -> Inputs:
    """Sort inputs into cases: CASE_0000.ext, CASE_0001.ext …, or CASE.ext where one file holds all channels.

    Args:
        paths: folders, image files, and `.txt` files with one path per line.
        channels: channels that the model expects.
        file_ending: the ending of the model's dataset; each file is read by its own. Where it is one of
            volumes, pictures beside volumes in a folder are previews, and passed over.

    Raises:
        PredictionError: a path does not exist, or no image is found.
    """
    files: list[Path] = []
    for path in _listed(paths):
        if path.is_dir():
            files += _images_in(path, file_ending)
        elif path.is_file():
            files.append(path)
        else:
            raise PredictionError(
                path,
                found="no such file or folder",
                expected="images to predict",
                fix="check the path given to -i",
            )
    if not files:
        raise PredictionError(
            ", ".join(map(str, paths)),
            found="no image",
            expected=f"images such as CASE_0000{file_ending}",
            fix=f"put images there; endings read: {', '.join(ALL_ENDINGS)}",
        )
    lossy = [file for file in files if format_of(file).lossy]
    if lossy and file_ending in ALL_ENDINGS and not ALL_ENDINGS[file_ending].lossy:
        LOG.warning(
            "%d JPEG(S) AMONG THE IMAGES, such as %s; the model was trained on %s, and JPEG changes them",
            len(lossy),
            lossy[0].name,
            file_ending,
        )
    inputs = _complete(_by_case(files, channels), channels)
    return replace(inputs, files=tuple(files))


def part_of(cases: Mapping[str, Files], part: str) -> dict[str, Files]:
    """Every n-th case for `part` "i/n" (i from 1), so that n machines share a folder.

    Raises:
        PredictionError: `part` is not of that form.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    index, count = (int(match.group(1)), int(match.group(2))) if match else (0, 0)
    if not 1 <= index <= count:
        raise PredictionError(
            f"--part {part}",
            found=part,
            expected="i/n with 1 <= i <= n",
            fix="for example --part 1/4 … --part 4/4",
        )
    names = sorted(cases)[index - 1 :: count]
    return {name: cases[name] for name in names}


def _listed(paths: Sequence[Path]) -> list[Path]:
    """The paths, `.txt` files replaced by the paths in them (relative ones lie beside the list)."""
    result: list[Path] = []
    for path in paths:
        if path.suffix == ".txt" and path.is_file():
            lines = (line.strip() for line in read_text(path, PredictionError).splitlines())
            result += [path.parent / line for line in lines if line]
        else:
            result.append(path)
    return result


def _images_in(folder: Path, file_ending: str) -> list[Path]:
    """Every file of a known ending, in whatever mixture, but pictures beside volumes for a model of volumes;
    these, and what else looks like an image, are named."""
    entries = sorted(folder.iterdir())
    files = [path for path in entries if path.is_file()]
    if unread := unread_images(files):
        LOG.warning(
            "%s: %d image(s) of formats that are not read, passed over: %s; convert them to .nii.gz or .png",
            folder,
            len(unread),
            _named(unread),
        )
    others = sorted({*entries} - {*files})
    folders = (path for path in others if path.name[0] != "." and path.is_dir())
    if below := next(filter(_holds_images, islice(folders, MOST_FOLDERS)), None):
        LOG.info("%s: images in sub-folders are not looked at, such as those in %s", folder, below.name)
    return _without_previews(folder, images_among(files), file_ending)


def _without_previews(folder: Path, images: list[Path], file_ending: str) -> list[Path]:
    volumes = [path for path in images if not known_ending(path, NATURAL_ENDINGS)]
    previews = [path for path in images if known_ending(path, PICTURE_ENDINGS)]
    if file_ending in NATURAL_ENDINGS or not volumes or not previews:
        return images
    LOG.warning("%s: %d picture(s) beside volumes, passed over: %s", folder, len(previews), _named(previews))
    return [path for path in images if not known_ending(path, PICTURE_ENDINGS)]


def _named(paths: Sequence[Path]) -> str:
    return listed([path.name for path in paths])


def _holds_images(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:  # not all of which need be read
            return any(images_among([Path(entry.name)]) for entry in entries)
    except OSError:
        return False


def _by_case(files: Sequence[Path], channels: int) -> dict[str, dict[int | None, Path]]:
    """Case -> channel number (None where the name has none) -> file.

    Where a model has one channel and no file is of number 0, numbers belong to names, as AMOS has them
    (amos_0008.nii.gz).
    """
    cases: dict[str, dict[int | None, Path]] = {}
    stems = {path: path.name[: -len(file_ending_of(path))] for path in files if path.name[0] != "."}
    matches = {path: CHANNEL.fullmatch(stem) for path, stem in stems.items()}
    numbered = channels > 1 or any(match and int(match.group(2)) == 0 for match in matches.values())
    for path, stem in stems.items():
        match = matches[path] if numbered else None
        case, channel = (match.group(1), int(match.group(2))) if match else (stem, None)
        require_case_name(case, path, PredictionError)
        known = cases.setdefault(case, {})
        if channel in known and known[channel] != path:
            raise PredictionError(
                path,
                found=f"a second file for case {case}: {known[channel]}",
                expected="one file per case and channel",
                fix="rename one",
            )
        known[channel] = path
    return dict(sorted(cases.items()))


def _complete(by_case: dict[str, dict[int | None, Path]], channels: int) -> Inputs:
    cases: dict[str, CaseFiles] = {}
    refused: dict[str, BalrsamError] = {}
    for case, found in by_case.items():
        numbers = sorted(number for number in found if number is not None)
        several = all(format_of(path).several_channels for path in found.values())
        alone = len(found) == 1 and numbers in ([], [0]) and (channels == 1 or several)
        if alone or (None not in found and numbers == list(range(channels))):
            cases[case] = CaseFiles(case, tuple(found[number] for number in numbers) or (found[None],))
            continue
        refused[case] = PredictionError(
            f"case {case}",
            found=", ".join(path.name for path in found.values()),
            expected=f"{channels} channel(s): "
            f"{', '.join(f'{case}_{number:04d}' for number in range(channels))}",
            fix="add the missing channel files, or predict with a model of these channels",
        )
    return Inputs(cases=cases, refused=refused)
