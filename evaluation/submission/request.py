"""What is packed for a leaderboard, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.submission.checks import Finding
from evaluation.submission.leaderboards import Form


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
