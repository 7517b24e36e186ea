"""Which series of a folder of DICOM files are a case: found by header, chosen by what they say of
themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from balrsam_pipeline.imageio import images_among
from balrsam_pipeline.imageio.dicom import Series, find_series

NO_IMAGE = ("SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO")


@dataclass(frozen=True, slots=True)
class Studies:
    """Case -> its series in the order of channels; and cases that are refused, with the reason."""

    cases: dict[str, tuple[Series, ...]]
    refused: dict[str, BalrsamError]


def holds_dicom(paths: Sequence[Path]) -> bool:
    """Whether the inputs are folders of DICOM files: without an image of another format in them."""
    folders = [path for path in paths if path.is_dir()]
    if not folders or len(folders) < len(paths):
        return False
    files = [file for folder in folders for file in folder.iterdir() if file.is_file()]
    if images_among(files):
        return False
    return any(find_series(folder) for folder in folders)


def find_studies(folders: Sequence[Path], channels: Sequence[str], wanted: Sequence[str] = ()) -> Studies:
    """Sort the series of folders into cases: one per study, named by the folder that all its files lie in.

    Which series is which channel is decided for all cases together, and logged.

    Args:
        channels: names of the model's channels.
        wanted: words of descriptions (or series numbers) that choose a series each, in the order of channels.
    """
    found: dict[str, tuple[Series, ...]] = {}
    refused: dict[str, BalrsamError] = {}
    for folder in folders:
        studies: dict[str, list[Series]] = {}
        for one in find_series(folder):
            if one.modality not in NO_IMAGE and not one.is_localizer:
                studies.setdefault(one.study, []).append(one)
        for series in studies.values():
            case = _unused(_common_folder(series, folder).name, {*found, *refused})
            try:
                require_case_name(case, folder, PredictionError)
                found[case] = tuple(series)
            except BalrsamError as problem:
                refused[case] = problem
    chosen = _wanted(found, wanted, len(channels)) if wanted else _described(found, channels)
    for case, series_of_case in found.items():
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
    number = word.isdigit() and series.number == int(word)
    return number or word.casefold() in series.description.casefold()


def _common_folder(series: Sequence[Series], top: Path) -> Path:
    """The deepest folder that holds all files of a study."""
    parents = [file.parent for one in series for file in one.files]
    common = parents[0]
    while common != top and not all(parent.is_relative_to(common) for parent in parents):
        common = common.parent
    return common.resolve()


def _unused(name: str, taken: set[str]) -> str:
    number, wanted = 2, name
    while wanted in taken:
        wanted, number = f"{name}_study{number}", number + 1
    return wanted
