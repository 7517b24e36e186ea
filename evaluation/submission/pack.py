"""From a folder of predictions to a checked archive with its manifest and report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from balrsam_pipeline.dataset import DatasetDescription, LabelScheme, image_cases, read_description
from balrsam_pipeline.dataset.cases import scan_images
from balrsam_pipeline.errors import BalrsamError, PredictionError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.files import atomic_path, write_json, write_text
from balrsam_pipeline.imageio import FILE_ENDINGS, file_ending_of, label_ending, write_label
from balrsam_pipeline.layout import DESCRIPTION, PredictionFolder
from balrsam_pipeline.protect import require_not_read
from evaluation.pairs import label_files
from evaluation.submission.archive import file_sha256, verify_archive, write_archive
from evaluation.submission.checks import Finding, check_case_sets, check_label, check_size
from evaluation.submission.leaderboards import Form, member_name


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionRequest:
    """What to pack.

    Attributes:
        predictions: folder of CASE.ending, with the dataset.json that `predict` puts there (or
            `dataset_json`).
        images: folder of the test images, which say which cases and grids there must be.
        template: name of each file in the archive; None takes the form's.
        label_map: our label value -> the leaderboard's; values not named stay.
        limit_bytes: the largest archive that the server takes; None for no limit.
        dataset: folder-like name for templates; None takes dataset.json's folder or name.
    """

    predictions: Path
    images: Path
    form: Form
    output: Path
    dataset_json: Path | None = None
    dataset: str | None = None
    template: str | None = None
    label_map: Mapping[int, int] = field(default_factory=dict)
    limit_bytes: int | None = None
    workers: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The archive, its manifest and report, and what was odd."""

    archive: Path
    manifest: Path
    report: Path
    sha256: str
    cases: int
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    case: str
    prediction: Path
    image: Path
    target: Path
    allowed: frozenset[int]
    mapping: Mapping[int, int]


def pack_submission(request: SubmissionRequest) -> Submission:
    """Check every prediction, write them under the names and values that the leaderboard wants, pack, and
    check the archive again.

    Raises:
        PredictionError: any rule is broken (all findings are in the message and in the report; no archive is
            written).
    """
    description = read_description(request.dataset_json or labels_beside(request.predictions))
    images = test_images(request.images, description)
    predicted = predicted_files(request.predictions, label_ending(description.file_ending))
    findings = check_case_sets(predicted, images)
    mapping = value_mapping(description.labels, request)
    dataset = request.dataset or request.images.resolve().parent.name
    template = request.template or request.form.template
    with scratch_folder(request.output) as staging:
        names = {
            case: member_name(template, case, dataset, file_ending_of(path))
            for case, path in predicted.items()
            if case in images
        }
        tasks = {
            case: _Task(
                case=case,
                prediction=predicted[case],
                image=images[case],
                target=staging / name,
                allowed=description.labels.allowed_values - {description.labels.ignore_value},
                mapping=mapping,
            )
            for case, name in names.items()
        }
        findings += _convert_all(tasks, request.workers)
        refuse(request, findings)
        members = {name: tasks[case].target for case, name in names.items()}
        hashes = {name: file_sha256(path) for name, path in members.items()}
        require_not_read([request.output], [*predicted.values(), *images.values()])
        with atomic_path(request.output) as archive:  # an archive that is there stays until this one is sound
            write_archive(archive, members)
            verify_archive(archive, hashes)
            _recheck(archive, names, images, frozenset(mapping[value] for value in mapping))
            size = archive.stat().st_size
            refuse(request, findings + check_size(request.output.name, size, request.limit_bytes))
    return write_papers(request, hashes, findings)


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
    """Case -> its first channel in the folder of test images, whatever the ending of each.

    Raises:
        DatasetError: no image, or a case lacks a channel.
    """
    channels, strays = len(description.channel_names), scan_images(folder, description.file_ending).strays
    others = {ending for path in strays for ending in FILE_ENDINGS if path.name.lower().endswith(ending)}
    found = image_cases(folder, description.file_ending, channels)
    for ending in sorted(others - {description.file_ending}):
        if scan_images(folder, ending).channels:
            found = image_cases(folder, ending, channels) | found
    return {case: files.images[0] for case, files in found.items() if not case.startswith(".")}


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
                findings.append(_unreadable(outcome.case, outcome.error))
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


def _recheck(
    archive: Path, names: Mapping[str, str], images: Mapping[str, Path], allowed: frozenset[int]
) -> None:
    """Read every mask out of the archive, as the server will, and check it against its image."""
    import zipfile

    findings = []
    with scratch_folder(archive) as folder, zipfile.ZipFile(archive) as opened:
        for case, name in names.items():
            path = folder / Path(name).name
            path.write_bytes(opened.read(name))
            found = check_label(case, path, images[case], allowed)[1]
            findings += [item for item in found if item.severity == "error"]
            path.unlink()
    if findings:
        raise PredictionError(
            archive,
            found="; ".join(map(str, findings[:5])),
            expected="masks that pass the checks when read back",
            fix='choose a file format that keeps the geometry (--template "{case}.nii.gz")',
        )


def refuse(request: SubmissionRequest, findings: Sequence[Finding]) -> None:
    """Write the report and raise where a finding is an error.

    Raises:
        PredictionError: one is.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    report = report_path(request.output)
    write_text(report, report_text(request, findings, archived=False))
    raise PredictionError(
        request.predictions,
        found=f"{len(errors)} reason(s) to refuse it: "
        + "; ".join(map(str, errors[:5]))
        + (" …" if len(errors) > 5 else ""),
        expected="predictions that pass every check",
        fix=f"correct them; all reasons are in {report}",
    )


def write_papers(
    request: SubmissionRequest, hashes: Mapping[str, str], findings: Sequence[Finding]
) -> Submission:
    """Write manifest and report beside what was packed.

    Args:
        hashes: SHA-256 of every file of it.
    """
    manifest = request.output.with_name(f"{request.output.name}.manifest.json")
    sha256 = file_sha256(request.output)
    write_json(
        manifest, {"archive": request.output.name, "sha256": sha256, "files": dict(sorted(hashes.items()))}
    )
    write_text(report_path(request.output), report_text(request, findings, archived=True))
    return Submission(
        archive=request.output,
        manifest=manifest,
        report=report_path(request.output),
        sha256=sha256,
        cases=len(hashes),
        warnings=tuple(finding for finding in findings if finding.severity == "warning"),
    )


def report_path(archive: Path) -> Path:
    """Where the report of an archive lies: beside it, so that the archive holds masks alone."""
    return archive.with_name(f"{archive.name}.report.md")


def report_text(request: SubmissionRequest, findings: Sequence[Finding], archived: bool) -> str:
    """The report in Markdown: what was packed, and every finding."""
    result = "archive written, then opened and checked again" if archived else "refused, no archive written"
    lines = [
        f"# Submission {request.output.name}",
        "",
        f"- form: {request.form.name} ({request.form.source})",
        f"- names: `{request.template or request.form.template}`",
        f"- result: {result}",
        "",
    ]
    for severity, title in (("error", "Reasons to refuse"), ("warning", "Warnings")):
        found = [finding for finding in findings if finding.severity == severity]
        lines += [f"## {title}: {len(found)}", "", *(f"- {finding}" for finding in found), ""]
    return "\n".join(lines)


def _unreadable(case: str, problem: BalrsamError) -> Finding:
    return Finding(rule="readable integers", case=case, found=problem.found, expected=problem.expected)
