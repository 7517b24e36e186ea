"""What lies beside an archive: its manifest, and the report of what was packed or why nothing was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import write_json, write_text
from balrsam_pipeline.protect import require_file_place, require_own, require_utf8
from evaluation.submission.archive import file_sha256
from evaluation.submission.checks import Finding
from evaluation.submission.leaderboards import Form
from evaluation.submission.request import Submission, SubmissionRequest


def require_place(output: Path, form: Form) -> None:
    """Refuse a name that is none of such an archive or table, or one of an archive that is not UTF-8, and a
    file there that `submit` did not make: one without its manifest.

    Raises:
        UsageError: it is; nothing was touched.
    """
    if form.kind != "rle":
        require_utf8(output)
    require_file_place(output, (".csv",) if form.kind == "rle" else (".zip",))
    require_own([output], manifest_path(output))


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
    request: SubmissionRequest,
    packed: Path,
    hashes: Mapping[str, str],
    findings: Sequence[Finding],
    cases: int,
) -> Submission:
    """Write manifest and report beside the place of what was packed, before it is put there: no archive or
    table of ours is ever without its manifest.

    Args:
        packed: the archive or table, under a temporary name.
        hashes: SHA-256 of every file of it.
        cases: how many it holds.
    """
    manifest = manifest_path(request.output)
    sha256 = file_sha256(packed)
    write_json(
        manifest, {"archive": request.output.name, "sha256": sha256, "files": dict(sorted(hashes.items()))}
    )
    write_text(report_path(request.output), report_text(request, findings, archived=True))
    return Submission(
        archive=request.output,
        manifest=manifest,
        report=report_path(request.output),
        sha256=sha256,
        cases=cases,
        warnings=tuple(finding for finding in findings if finding.severity == "warning"),
    )


def manifest_path(archive: Path) -> Path:
    """Where the manifest of an archive lies: beside it; it says that the archive is ours."""
    return archive.with_name(f"{archive.name}.manifest.json")


def report_path(archive: Path) -> Path:
    """Where the report of an archive lies: beside it, so that the archive holds masks alone."""
    return archive.with_name(f"{archive.name}.report.md")


def report_text(request: SubmissionRequest, findings: Sequence[Finding], archived: bool) -> str:
    """The report in Markdown: what was packed, and every finding."""
    what = "table" if request.form.kind == "rle" else "archive"
    result = f"{what} written, then opened and checked again" if archived else f"refused, no {what} written"
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
