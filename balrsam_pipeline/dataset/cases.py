"""Which files belong to which case, by name: CASE_0000.ext, CASE_0001.ext … and a label CASE.ext."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import FILE_ENDINGS, label_ending

LISTED = 5  # names shown in a message


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of one case: images in channel order (or one file that holds all channels), and its label if
    it has one."""

    case: str
    images: tuple[Path, ...]
    label: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderScan:
    """What lies in a folder of images.

    Attributes:
        channels: case -> channel number -> file.
        strays: files of the ending whose name is not CASE_0000, and files of another ending.
    """

    channels: dict[str, dict[int, Path]]
    strays: tuple[Path, ...]


def scan_images(folder: Path, file_ending: str) -> FolderScan:
    """Sort the files of a folder into cases and channels; hidden files and the spacing files of TIFF stacks
    are passed over.

    Raises:
        DatasetError: no such folder.
    """
    if not folder.is_dir():
        raise DatasetError(
            folder,
            found="no such folder",
            expected=f"images named CASE_0000{file_ending}",
            fix="check the path; a dataset holds imagesTr/ and labelsTr/ beside dataset.json",
        )
    channels: dict[str, dict[int, Path]] = {}
    strays = []
    pattern = re.compile(r"(.+)_(\d{4})" + re.escape(file_ending))
    for path in sorted(folder.iterdir()):
        match = pattern.fullmatch(path.name)
        if match:
            channels.setdefault(match.group(1), {})[int(match.group(2))] = path
        elif not path.name.startswith(".") and not (
            file_ending in (".tif", ".tiff") and path.suffix == ".json"
        ):
            strays.append(path)
    return FolderScan(channels=dict(sorted(channels.items())), strays=tuple(strays))


def image_cases(folder: Path, file_ending: str, channels: int) -> dict[str, CaseFiles]:
    """Find the cases of a folder, sorted by name.

    Args:
        channels: how many channels a case has; a format that holds colours may bring them all in CASE_0000
            alone.

    Raises:
        DatasetError: no such folder, nothing in it, or cases that lack a channel; the message names them.
    """
    scan = scan_images(folder, file_ending)
    incomplete = {
        case: found for case, found in scan.channels.items() if not is_complete(found, file_ending, channels)
    }
    if incomplete:
        shown = ", ".join(
            f"{case} (has {', '.join(f'{number:04d}' for number in sorted(found))})"
            for case, found in first(incomplete)
        )
        raise DatasetError(
            folder,
            found=f"{len(incomplete)} case(s) of another number of channels: {shown}",
            expected=f"channels {', '.join(f'{number:04d}' for number in range(channels))} of every case",
            fix="add the missing files, remove the extra ones, or correct channel_names in dataset.json",
        )
    if not scan.channels:
        raise DatasetError(
            folder,
            found=f"no image named CASE_0000{file_ending}"
            + (f", but {scan.strays[0].name}" if scan.strays else ""),
            expected=f"images named CASE_0000{file_ending}, CASE_0001{file_ending} …, one file per channel",
            fix="rename the images (a single channel is 0000), or correct file_ending in dataset.json",
        )
    return {
        case: CaseFiles(case, tuple(found[number] for number in sorted(found)))
        for case, found in scan.channels.items()
    }


def is_complete(found: dict[int, Path], file_ending: str, channels: int) -> bool:
    """Whether the channel files of a case are those expected, or one file that may hold all channels."""
    together = FILE_ENDINGS[file_ending].several_channels and sorted(found) == [0]
    return together or sorted(found) == list(range(channels))


def with_labels(cases: dict[str, CaseFiles], labels: Path, file_ending: str) -> dict[str, CaseFiles]:
    """Add to each case its label in the folder `labels`.

    Raises:
        DatasetError: a case has none; the message names all of them.
    """
    ending = label_ending(file_ending)
    labelled = {case: replace(files, label=labels / f"{case}{ending}") for case, files in cases.items()}
    missing = [
        files.label.name
        for files in labelled.values()
        if files.label is not None and not files.label.is_file()
    ]
    if missing:
        raise DatasetError(
            labels,
            found=f"{len(missing)} label file(s) missing: "
            f"{', '.join(missing[:LISTED])}{' …' if len(missing) > LISTED else ''}",
            expected=f"one label for each of the {len(cases)} training cases",
            fix="add the labels, or move the images that have none out of imagesTr",
        )
    return labelled


def first(found: dict[str, dict[int, Path]]) -> list[tuple[str, dict[int, Path]]]:
    """The first few entries, for a message."""
    return list(found.items())[:LISTED]
