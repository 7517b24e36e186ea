"""Which series of a folder of DICOM files are a case: found by header, chosen by what they say of
themselves."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.dataset.converters.dicom_channels import (
    Case,
    contradicted,
    decide_channels,
    log_channels,
    told,
)
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.imageio import ALL_ENDINGS, PICTURE_ENDINGS, images_among
from balrsam_pipeline.imageio.dicom import Series, find_series
from balrsam_pipeline.imageio.dicom_files import begins_as_dicom, folders_of
from balrsam_pipeline.imageio.formats import known_ending
from balrsam_pipeline.paths import absolute
from balrsam_pipeline.whole_numbers import whole_number

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Studies:
    """Case -> its series in the order of channels; and cases that are refused, with the reason."""

    cases: dict[str, tuple[Series, ...]]
    refused: dict[str, BalrsamError]


def holds_dicom(paths: Sequence[Path], *, volumes: bool = True, meant: bool = False) -> bool:
    """Whether the inputs are folders of DICOM files.

    Args:
        volumes: whether the model is one of volumes: pictures beside series (a logo, a preview) are passed
            over then.
        meant: whether options say that DICOM is meant; then any image beside series is passed over.

    Raises:
        PredictionError: images that could be meant lie beside series.
    """
    folders = [path for path in paths if path.is_dir()]
    if not folders or len(folders) < len(paths):
        return False
    images = images_among(file for folder in folders for file in sorted(folder.iterdir()) if file.is_file())
    if not images:
        return any(find_series(folder, tell=False) for folder in folders)
    if not any(_has_dicom_file(folder) for folder in folders):
        return False  # without having GDCM open thousands of images
    count = sum(series.is_image for folder in folders for series in find_series(folder, tell=False))
    if count == 0:
        return False
    if not meant and not (volumes and all(known_ending(file, PICTURE_ENDINGS) for file in images)):
        raise PredictionError(
            ", ".join(map(str, folders)),
            found=f"{len(images)} image(s), such as {images[0].name}, beside {count} DICOM series",
            expected="one kind of input",
            fix="for the images name their files: -i IMAGE IMAGE …; for the series name their folder alone, "
            "or choose them by words of their descriptions: --series WORD …",
        )
    LOG.warning(
        "%d image(s), such as %s, are passed over beside %d DICOM series", len(images), images[0].name, count
    )
    return True


def _has_dicom_file(folder: Path) -> bool:
    return any(
        path.is_file() and not known_ending(path, ALL_ENDINGS) and begins_as_dicom(path)
        for place in folders_of(folder, tell=False)
        for path in place.iterdir()
    )


def find_studies(folders: Sequence[Path], channels: Sequence[str], wanted: Sequence[str] = ()) -> Studies:
    """Sort the series of folders into cases: one per study, named by the folder that all its files lie in,
    and where several lie in folders of one name by as many of those above as tell them apart.

    Which series is which channel is decided for all cases together, and logged.

    Args:
        channels: names of the model's channels.
        wanted: words of descriptions (or series numbers) that choose a series each, in the order of channels.
    """
    found: dict[str, tuple[Series, ...]] = {}
    refused: dict[str, BalrsamError] = {}
    studies: list[tuple[Path, list[Series]]] = []
    for folder in folders:
        of_folder: dict[str, list[Series]] = {}
        for one in find_series(folder):
            if one.is_image:
                of_folder.setdefault(one.study, []).append(one)
        studies += [(_common_folder(series, folder), series) for series in of_folder.values()]
    names = _distinct_names({place for place, _ in studies})
    for place, series in studies:
        case = _unused(names[place], {*found, *refused})
        try:
            require_case_name(case, place, PredictionError)
            found[case] = tuple(series)
        except BalrsamError as problem:
            refused[case] = problem
    chosen = _wanted(found, wanted, len(channels)) if wanted else _described(found, channels)
    for case, series_of_case in found.items():
        LOG.info("%s: study %s", case, series_of_case[0].study)
        if case in chosen:
            log_channels(case, chosen[case], channels)
        else:
            refused[case] = _unclear(case, series_of_case, channels, wanted)
    return Studies(chosen, refused)


def _wanted(
    found: Mapping[str, tuple[Series, ...]], wanted: Sequence[str], channels: int
) -> dict[str, tuple[Series, ...]]:
    """The cases in which each word chooses one series, one per channel."""
    chosen: dict[str, tuple[Series, ...]] = {}
    for case, series in found.items():
        fitting = [[one for one in series if _fits(one, word)] for word in wanted]
        if len(wanted) == channels and all(len(several) == 1 for several in fitting):
            chosen[case] = tuple(several[0] for several in fitting)
    return chosen


def _described(
    found: Mapping[str, tuple[Series, ...]], channels: Sequence[str]
) -> dict[str, tuple[Series, ...]]:
    """The cases with one series per channel whose descriptions say which is which; series numbers differ
    between patients, so they say nothing."""
    if len(channels) == 1:
        return {case: series for case, series in found.items() if len(series) == 1}
    cases: list[Case] = list(found.items())
    decided = decide_channels(cases, channels)
    torn = {case for case, _ in contradicted(decided, cases)}
    return {
        case: series for (case, _), series in zip(cases, decided, strict=True) if series and case not in torn
    }


def _unclear(
    case: str, series: Sequence[Series], channels: Sequence[str], wanted: Sequence[str]
) -> PredictionError:
    """It is not clear which series are the channels; the message lists what is there."""
    listed = ", ".join(f"{told(one)} ({len(one.files)} files)" for one in series)
    asked = f"for {' and '.join(map(repr, wanted))}, " if wanted else ""
    open_order = len(series) == len(channels) and not wanted
    return PredictionError(
        f"case {case}",
        found=f"{asked}series {listed}",
        expected=f"one series for each of {', '.join(channels)}"
        + (", with descriptions that say in all cases which is which" if open_order else ""),
        fix="choose by words of their descriptions, or by their numbers: --series WORD …, one per channel",
    )


def _fits(series: Series, word: str) -> bool:
    number = whole_number(word)
    return (
        number is not None and series.number == number
    ) or word.casefold() in series.description.casefold()


def _common_folder(series: Sequence[Series], top: Path) -> Path:
    """The deepest folder that holds all files of a study, by the names that led to it: links by their own."""
    parents = [file.parent for one in series for file in one.files]
    common = parents[0]
    while common != top and not all(parent.is_relative_to(common) for parent in parents):
        common = common.parent
    return absolute(common)


def _distinct_names(folders: Collection[Path]) -> dict[Path, str]:
    """A folder's own name, or its last parts that no other has: patient1_DICOM. The order of folders does not
    matter."""
    names: dict[Path, str] = {}
    depth, left = 1, set(folders)
    while left:
        counts = Counter(folder.parts[-depth:] for folder in folders)
        for folder in sorted(left):
            if counts[folder.parts[-depth:]] == 1 or depth >= len(folder.parts) - 1:
                names[folder] = "_".join(folder.parts[-depth:])
        left -= names.keys()
        depth += 1
    return names


def _unused(name: str, taken: set[str]) -> str:
    number, wanted = 2, name
    while wanted in taken:
        wanted, number = f"{name}_study{number}", number + 1
    return wanted
