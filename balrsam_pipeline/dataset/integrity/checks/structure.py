"""Is every file there, under the name that the format asks for? Nothing but names is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset.case_names import require_names_apart
from balrsam_pipeline.dataset.cases import CaseFiles, FolderScan, find_label, is_complete, scan_images
from balrsam_pipeline.dataset.integrity.report import Problem, of_test_case, problem_of
from balrsam_pipeline.dataset.raw import RawDataset
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import FILE_ENDINGS, label_ending
from balrsam_pipeline.layout import DESCRIPTION, IMAGES_TR, IMAGES_TS, LABELS_TR

SPARE_FILES = ("Thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFiles:
    """Training and test cases whose image files are complete (the label may be None), and what is missing or
    does not belong."""

    training: dict[str, CaseFiles]
    test: dict[str, CaseFiles]
    problems: tuple[Problem, ...]


def check_files(dataset: RawDataset) -> FoundFiles:
    """Find the cases that can be read, and what is missing or does not belong."""
    if dataset.description.listed is not None:
        training, problems = _listed(dataset.description.listed)
    else:
        training, problems = _scanned(dataset)
    try:
        require_names_apart(training, dataset.folder / IMAGES_TR)
    except DatasetError as error:
        problems.append(problem_of(error, "case_names", IMAGES_TR))
    test: dict[str, CaseFiles] = {}
    folder = dataset.folder / IMAGES_TS
    if folder.is_dir():
        found: list[Problem] = []
        try:
            scan = scan_images(folder, dataset.description.file_ending)
            test = _complete(dataset, scan, found)
            found += _strays(scan, IMAGES_TS, dataset.description.file_ending)
        except DatasetError as error:
            found.append(problem_of(error, "image_name", IMAGES_TS))
        problems += [of_test_case(problem) for problem in found]
    stated = dataset.description.stated_cases
    if (
        stated is not None
        and stated != len(training)
        and not any(problem.severity == "error" for problem in problems)
    ):
        problems.append(
            Problem(
                "num_training",
                DESCRIPTION,
                f"numTraining {stated}",
                f"{len(training)}, as there are training cases",
                "add the missing cases, or correct numTraining: balrsam verify DATASET --fix NEW_FOLDER",
                "warning",
            )
        )
    return FoundFiles(training=training, test=test, problems=tuple(problems))


def _listed(listed: dict[str, CaseFiles]) -> tuple[dict[str, CaseFiles], list[Problem]]:
    problems = [
        Problem(
            "listed_file_missing",
            case,
            f"no file {path}",
            "the file that dataset.json lists",
            "add the file, or correct its entry in dataset.json",
        )
        for case, files in listed.items()
        for path in (*files.images, *([files.label] if files.label else []))
        if not path.is_file()
    ]
    broken = {problem.case for problem in problems}
    return {case: files for case, files in listed.items() if case not in broken}, problems


def _scanned(dataset: RawDataset) -> tuple[dict[str, CaseFiles], list[Problem]]:
    problems: list[Problem] = []
    ending = dataset.description.file_ending
    try:
        scan = scan_images(dataset.folder / IMAGES_TR, ending)
    except DatasetError as error:
        missing = not (dataset.folder / IMAGES_TR).is_dir()
        return {}, [problem_of(error, "images_folder_missing" if missing else "image_name", IMAGES_TR)]
    cases = _complete(dataset, scan, problems)
    problems += [*_strays(scan, IMAGES_TR, ending), *_other_endings(scan, ending)]
    if not scan.channels:
        fix = "rename the images (a single channel is 0000), or correct file_ending in dataset.json"
        problems.append(
            Problem(
                "no_cases",
                IMAGES_TR,
                f"no image named CASE_0000{ending}",
                "at least two training cases",
                fix,
            )
        )
    labels = dataset.folder / LABELS_TR
    if not labels.is_dir():
        fix = "add the folder with one label per case"
        return cases, [
            *problems,
            Problem("labels_folder_missing", LABELS_TR, "no such folder", "labels named CASE" + ending, fix),
        ]
    for case, files in cases.items():
        label = find_label(labels, case, ending)
        if label.is_file():
            cases[case] = CaseFiles(case, files.images, label)
        else:
            fix = "add the label, or move the case's images out of imagesTr"
            problems.append(
                Problem("label_missing", case, f"no labelsTr/{label.name}", "one label a training case", fix)
            )
    used = {files.label for files in cases.values()}
    used |= {find_label(labels, case, ending) for case in scan.channels}
    problems += _extra_labels(labels, label_ending(ending), {path.name for path in used if path})
    return cases, problems


def _complete(dataset: RawDataset, scan: FolderScan, problems: list[Problem]) -> dict[str, CaseFiles]:
    """The cases with all channel files; problems of the others are added to `problems`."""
    ending, names = dataset.description.file_ending, dataset.description.channel_names
    cases = {}
    for case, found in scan.channels.items():
        if is_complete(found, ending, len(names)):
            cases[case] = CaseFiles(case, tuple(found[number] for number in sorted(found)))
            continue
        wanted = set(range(len(names)))
        if wanted - set(found):
            missing = ", ".join(
                f"{case}_{number:04d}{ending} ({names[number]})" for number in sorted(wanted - set(found))
            )
            fix = "add the file, or leave the case out; correct channel_names if the channel does not exist"
            problems.append(
                Problem("channel_missing", case, f"no {missing}", f"{len(names)} channel file(s)", fix)
            )
        if set(found) - wanted:
            extra = ", ".join(found[number].name for number in sorted(set(found) - wanted))
            fix = "name the channel in channel_names of dataset.json, or remove the file"
            problems.append(
                Problem("channel_extra", case, extra, f"channels 0000 to {len(names) - 1:04d}", fix)
            )
    return cases


def _other_endings(scan: FolderScan, ending: str) -> Iterator[Problem]:
    """Images of other endings are read by theirs; nnU-Net, which reads the same folder, would pass them
    over."""
    for case, found in scan.channels.items():
        others = [path.name for path in found.values() if not path.name.endswith(ending)]
        if others:
            yield Problem(
                "mixed_endings",
                case,
                ", ".join(others),
                f"images that end in {ending}",
                f"nothing, where only balrsam reads them; for nnU-Net save them as {ending}",
                "warning",
            )


def _strays(scan: FolderScan, folder: str, ending: str) -> Iterator[Problem]:
    for path in scan.strays:
        if path.name in SPARE_FILES:
            continue
        image = path.name.endswith(ending) and path.is_file()
        other = any(path.name.lower().endswith(known) for known in FILE_ENDINGS)
        yield Problem(
            "image_name" if image else "other_format" if other else "stray_file",
            f"{folder}/{path.name}",
            "an image without a channel number"
            if image
            else f"an image that is not {ending}, and is not read"
            if other
            else "a file that is no image",
            f"images named CASE_0000{ending}",
            f"rename it to {path.name.removesuffix(ending)}_0000{ending}"
            if image
            else f"save it as {ending}"
            if other
            else "move it out of the folder (it is not read)",
            "error" if image else "warning",
        )


def _extra_labels(labels: Path, ending: str, used: set[str]) -> Iterator[Problem]:
    stems = {name.rpartition(".")[0] for name in used}
    for path in sorted(labels.iterdir()):
        if path.name.startswith(".") or path.name in SPARE_FILES or path.name in used:
            continue
        if path.suffix == ".json" and path.stem in stems:
            continue  # the spacing of a TIFF stack
        fix = "add the image, or move the label out of labelsTr (it is not read)"
        yield Problem(
            "label_without_image",
            f"{LABELS_TR}/{path.name}",
            "a file that belongs to no case",
            f"CASE{ending}",
            fix,
            "warning",
        )
