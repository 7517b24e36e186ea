"""From a folder of predictions to a checked archive with its manifest and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from balrsam_pipeline.dataset import DatasetDescription, LabelScheme, read_description
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.imageio import file_ending_of, label_ending, npz, write_label
from balrsam_pipeline.inference.inputs import find_cases
from balrsam_pipeline.layout import DESCRIPTION, PredictionFolder
from balrsam_pipeline.outdated import require_current
from balrsam_pipeline.paths import absolute
from balrsam_pipeline.protect import require_not_read
from evaluation.decathlon import DATASET
from evaluation.pairs import label_files
from evaluation.submission.archive import file_sha256, verify_archive, write_archive
from evaluation.submission.checks import (
    Finding,
    check_case_sets,
    check_folders,
    check_label,
    check_size,
    left_out_findings,
    unreadable,
)
from evaluation.submission.leaderboards import member_name
from evaluation.submission.papers import refuse, require_place, write_papers
from evaluation.submission.request import Submission, SubmissionRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One dataset of an archive: what was found, and what its predictions become."""

    images: Mapping[str, Path]
    predicted: Mapping[str, Path]
    names: Mapping[str, str]
    allowed: frozenset[int]
    mapping: Mapping[int, int]
    findings: list[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    case: str
    prediction: Path
    image: Path
    target: Path
    allowed: frozenset[int]
    mapping: Mapping[int, int]


def pack_submission(request: SubmissionRequest, *more: SubmissionRequest) -> Submission:
    """Check every prediction, write them under the names and values that the leaderboard wants, pack, and
    check the archive again.

    Args:
        more: of further datasets, for the same archive; what concerns the archive is taken from the first.

    Raises:
        PredictionError: any rule is broken (all findings are in the message and in the report; no archive is
            written), or predictions are to be made again.
        UsageError: the output is no `.zip`, is read, or is a file that was not made here.
    """
    require_place(request.output, request.form)
    parts = [_part_of(one) for one in (request, *more)]
    findings = [finding for part in parts for finding in part.findings]
    with scratch_folder(request.output) as staging:
        tasks = _tasks(request, parts, staging)
        if more:
            findings += check_folders(tasks, request.form.folders)
        findings += _convert_all(tasks, request.workers)
        refuse(request, findings)
        hashes = {name: file_sha256(task.target) for name, task in tasks.items()}
        read = [path for task in tasks.values() for path in (task.prediction, task.image)]
        require_not_read([request.output], read)
        with atomic_path(request.output) as archive:  # an archive that is there stays until this one is sound
            write_archive(archive, {name: task.target for name, task in tasks.items()})
            verify_archive(archive, hashes)
            _recheck(archive, tasks)
            size = archive.stat().st_size
            refuse(request, findings + check_size(request.output.name, size, request.limit_bytes))
            return write_papers(request, archive, hashes, findings, cases=len(hashes))


def require_possible(request: SubmissionRequest, description: DatasetDescription) -> None:
    """Refuse, before anything is predicted, names and values that no predictions could be packed with.

    Args:
        description: of the dataset that is predicted.

    Raises:
        PredictionError: the template or the label map does not fit; UsageError: the output may not be
            written.
    """
    require_place(request.output, request.form)
    template = request.template or request.form.template
    member_name(template, "case", _dataset_of(request), description.file_ending)
    value_mapping(description.labels, request)


def _dataset_of(request: SubmissionRequest) -> str:
    """The dataset that is named, or the folder that the images are in: by the name that the user calls it, or
    where that is no dataset's, by that where links lead."""
    own, led_to = absolute(request.images).parent.name, request.images.resolve().parent.name
    return request.dataset or (own if DATASET.fullmatch(own) or not DATASET.fullmatch(led_to) else led_to)


def _part_of(request: SubmissionRequest) -> _Part:
    labels = request.dataset_json or labels_beside(request.predictions)
    require_not_read([request.output], [labels])
    description = read_description(labels)
    images = test_images(request.images, description)
    predicted = predicted_files(request.predictions, label_ending(description.file_ending))
    unwanted = [case for case in request.form.left_out if case in images or case in predicted]
    images = {case: path for case, path in images.items() if case not in unwanted}
    predicted = {case: path for case, path in predicted.items() if case not in unwanted}
    require_current(request.predictions, predicted, PredictionError)
    template = request.template or request.form.template
    return _Part(
        images=images,
        predicted=predicted,
        names={
            case: member_name(template, case, _dataset_of(request), file_ending_of(path))
            for case, path in predicted.items()
            if case in images
        },
        allowed=description.labels.allowed_values - {description.labels.ignore_value},
        mapping=value_mapping(description.labels, request),
        findings=check_case_sets(predicted, images) + left_out_findings(unwanted, request.form.name),
    )


def _tasks(request: SubmissionRequest, parts: Sequence[_Part], staging: Path) -> dict[str, _Task]:
    """Name in the archive -> what is to be done for it.

    Raises:
        PredictionError: two predictions would get one name.
    """
    tasks: dict[str, _Task] = {}
    for part in parts:
        for case, name in part.names.items():
            if name in tasks:
                raise PredictionError(
                    request.template or request.form.template,
                    found=f"two predictions that would be {name}: {tasks[name].prediction} and "
                    f"{part.predicted[case]}",
                    expected="a name of its own for each",
                    fix="name the datasets apart: --template '{dataset}/{case}{ending}'",
                )
            tasks[name] = _Task(
                case=case,
                prediction=part.predicted[case],
                image=part.images[case],
                target=staging / name,
                allowed=part.allowed,
                mapping=part.mapping,
            )
    return tasks


def labels_beside(predictions: Path) -> Path:
    """The dataset.json that `predict` puts into a folder of predictions."""
    path = PredictionFolder(predictions).description
    if path.is_file():
        return path
    raise PredictionError(
        predictions,
        found=f"no {DESCRIPTION}" if predictions.is_dir() else "no such folder",
        expected="a folder that 'balrsam predict' wrote, with the dataset.json that it puts there",
        fix="predict first: balrsam predict -o FOLDER; for predictions from elsewhere name the labels: "
        "--dataset-json FILE",
    )


def test_images(folder: Path, description: DatasetDescription) -> dict[str, Path]:
    """Case -> its first channel in the folder of test images, as `predict` finds them.

    Raises:
        PredictionError: no image, or a case lacks a channel.
    """
    inputs = find_cases([folder], len(description.channel_names), description.file_ending)
    for problem in inputs.refused.values():
        raise problem
    return {case: files.images[0] for case, files in inputs.cases.items()}


def predicted_files(folder: Path, ending: str) -> dict[str, Path]:
    """Case -> label map in a folder of predictions, whatever the ending of each.

    Raises:
        PredictionError: there is none; EvaluationError: no such folder, or two files of one case.
    """
    found = label_files(folder, ending)
    if found:
        return found
    raise PredictionError(
        folder,
        found="no label map",
        expected=f"predictions such as CASE{ending}",
        fix="predict first: balrsam predict --help",
    )


def value_mapping(labels: LabelScheme, request: SubmissionRequest) -> dict[int, int]:
    """Every value that a prediction may hold -> the value to write.

    Raises:
        PredictionError: the map names a value that is no label, or the form wants one foreground label and
            there are more.
    """
    values = sorted(labels.allowed_values - {labels.ignore_value})
    unknown = sorted(set(request.label_map) - set(values))
    if unknown:
        raise PredictionError(
            "--label-map",
            found=f"values {unknown}",
            expected=f"labels of the dataset: {values}",
            fix="correct the map: OURS=THEIRS",
        )
    mapping = {value: request.label_map.get(value, value) for value in values}
    if request.form.foreground is not None and not request.label_map:
        if len(values) > 2:
            raise PredictionError(
                f"format {request.form.name}",
                found=f"{len(values) - 1} foreground labels",
                expected="one",
                fix=f"say which value each gets: --label-map {values[1]}={request.form.foreground} …",
            )
        mapping = {value: request.form.foreground if value else 0 for value in values}
    return mapping


def _convert_all(tasks: Mapping[str, _Task], workers: int) -> list[Finding]:
    findings: list[Finding] = []
    with local_executor(min(workers, max(1, len(tasks)))) as executor:
        for outcome in run_cases(_convert, tasks, executor, workers, PredictionError):
            if outcome.error is not None:
                findings.append(unreadable(tasks[outcome.case].case, outcome.error))
            findings += outcome.value or []
    return sorted(findings, key=lambda finding: (finding.case, finding.rule))


def _convert(task: _Task) -> list[Finding]:
    label, findings = check_label(task.case, task.prediction, task.image, task.allowed)
    if label is None or any(finding.severity == "error" for finding in findings):
        return findings
    table = np.zeros(max(task.mapping) + 1, dtype=np.uint16)
    for ours, theirs in task.mapping.items():
        table[ours] = theirs
    write_label(task.target, table[label.data[0]], label.geometry, like=task.prediction)
    return findings


def _recheck(archive: Path, tasks: Mapping[str, _Task]) -> None:
    """Read every mask out of the archive, as the server will, and check it against its image."""
    import zipfile

    findings = []
    with scratch_folder(archive) as folder, zipfile.ZipFile(archive) as opened:
        for name, task in tasks.items():
            path = folder / Path(name).name
            path.write_bytes(opened.read(name))
            found = check_label(task.case, path, task.image, frozenset(task.mapping.values()))[1]
            passed = ("origin", "direction") if name.endswith(npz.ENDING) else ()  # it has no room for them
            findings += [item for item in found if item.severity == "error" and item.rule not in passed]
            path.unlink()
    if findings:
        raise PredictionError(
            archive,
            found="; ".join(map(str, findings[:5])),
            expected="masks that pass the checks when read back",
            fix='choose a file format that keeps the geometry (--template "{case}.nii.gz")',
        )
