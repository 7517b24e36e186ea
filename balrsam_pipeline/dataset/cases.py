"""Which files belong to which case, by name: CASE_0000.ext, CASE_0001.ext … and a label CASE.ext."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import FILE_ENDINGS, file_ending_of, label_ending

LISTED = 5  # names shown in a message
IMAGE = re.compile(rf"(.+)_([0-9]{{4}})({'|'.join(map(re.escape, FILE_ENDINGS))})", re.DOTALL | re.IGNORECASE)


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
        strays: files whose name is not CASE_0000 with an ending that is read, and images that stand beside
            one of the dataset's ending.
    """

    channels: dict[str, dict[int, Path]]
    strays: tuple[Path, ...]


def scan_images(folder: Path, file_ending: str) -> FolderScan:
    """Sort the files of a folder into cases and channels; hidden files and the spacing files of TIFF stacks
    are passed over.

    An ending belongs to each file: images of other known endings are cases too, unless a file of the
    dataset's own ending is there for the same case and channel (a thumbnail beside a volume is a stray).

    Raises:
        DatasetError: no such folder, a name that no case may have, or two files for one channel.
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
    present = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    names = {path.name.lower() for path in present}
    for path in sorted(present, key=lambda path: not path.name.endswith(file_ending)):  # its own ending first
        match = IMAGE.fullmatch(path.name)
        if match is None:
            if not _is_spacing_file(path, names):
                strays.append(path)
            continue
        require_case_name(match.group(1), path)
        known = channels.setdefault(match.group(1), {}).setdefault(int(match.group(2)), path)
        if known == path:
            continue
        if not known.name.endswith(file_ending):
            raise DatasetError(
                path,
                found=f"a second file for case {match.group(1)}, channel {match.group(2)}: {known.name}",
                expected="one file a case and channel",
                fix="keep one of them",
            )
        strays.append(path)
    return FolderScan(channels=dict(sorted(channels.items())), strays=tuple(sorted(strays)))


def _is_spacing_file(path: Path, names: Set[str]) -> bool:
    """Whether it belongs to a TIFF stack; `names` are those of the folder, in lower case."""
    stem = path.name.removesuffix(".json").lower()
    return path.suffix == ".json" and not names.isdisjoint((f"{stem}.tif", f"{stem}.tiff"))


def prediction_name(files: CaseFiles) -> str:
    """The file name of a case's prediction: the ending of its image, or PNG where that changes values."""
    return f"{files.case}{label_ending(file_ending_of(files.images[0]))}"


def find_label(folder: Path, case: str, file_ending: str) -> Path:
    """The label of a case, whatever its ending; where there is none, the path that it should have."""
    expected = folder / f"{case}{label_ending(file_ending)}"
    if expected.is_file():
        return expected
    for ending, form in FILE_ENDINGS.items():
        for name in (f"{case}{ending}", f"{case}{ending.upper()}"):
            if not form.lossy and (folder / name).is_file():
                return folder / name
    return expected


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
    endings = {file_ending_of(path) for path in found.values()} or {file_ending}
    together = all(FILE_ENDINGS[ending].several_channels for ending in endings) and sorted(found) == [0]
    return together or sorted(found) == list(range(channels))


def with_labels(cases: dict[str, CaseFiles], labels: Path, file_ending: str) -> dict[str, CaseFiles]:
    """Add to each case its label in the folder `labels`.

    Raises:
        DatasetError: a case has none; the message names all of them.
    """
    labelled = {
        case: replace(files, label=find_label(labels, case, file_ending)) for case, files in cases.items()
    }
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
