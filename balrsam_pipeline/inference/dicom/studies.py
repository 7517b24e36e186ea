"""Which series of a folder of DICOM files are a case: found by header, chosen by what they say of
themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.dataset.converters.dicom_channels import order_series
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

    Args:
        channels: names of the model's channels.
        wanted: words of descriptions (or series numbers) that choose a series each, in the order of channels.
    """
    cases: dict[str, tuple[Series, ...]] = {}
    refused: dict[str, BalrsamError] = {}
    for folder in folders:
        studies: dict[str, list[Series]] = {}
        for one in find_series(folder):
            if one.modality not in NO_IMAGE and not one.is_localizer:
                studies.setdefault(one.study, []).append(one)
        for series in studies.values():
            case = _unused(_common_folder(series, folder).name, {*cases, *refused})
            try:
                require_case_name(case, folder, PredictionError)
                cases[case] = _chosen(case, tuple(series), channels, wanted)
            except BalrsamError as problem:
                refused[case] = problem
    return Studies(cases, refused)


def _chosen(
    case: str, series: tuple[Series, ...], channels: Sequence[str], wanted: Sequence[str]
) -> tuple[Series, ...]:
    """The series of a case, one per channel.

    Raises:
        PredictionError: it is not clear which; the message lists what is there.
    """
    if wanted:
        found = [[one for one in series if _fits(one, word)] for word in wanted]
        if len(wanted) == len(channels) and all(len(fitting) == 1 for fitting in found):
            return tuple(fitting[0] for fitting in found)
    elif len(series) == len(channels):
        return order_series([(case, series)], channels)[0]
    listed = ", ".join(
        f"{one.number} '{one.description or one.modality}' ({len(one.files)} files)" for one in series
    )
    asked = f"for {' and '.join(map(repr, wanted))}, " if wanted else ""
    raise PredictionError(
        f"case {case}",
        found=f"{asked}series {listed}",
        expected=f"one series for each of {', '.join(channels)}",
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
