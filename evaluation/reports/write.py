"""Writing every report of a summary into a folder."""

from __future__ import annotations

import os
from pathlib import Path

from balrsam_pipeline.errors import EvaluationError
from evaluation.reports.html.report import REPORT_NAME, write_html
from evaluation.reports.per_case_csv import CSV_NAME, write_csv
from evaluation.reports.summary_json import SUMMARY_NAME, write_summary
from evaluation.strata import Strata
from evaluation.summary import Summary


def make_folder(folder: Path) -> Path:
    """Make the folder that reports go to, and return it.

    Raises:
        EvaluationError: it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
        problem = "no permission to write"
    except OSError as error:
        problem = error.strerror or str(error)
    raise EvaluationError(
        folder,
        found=problem,
        expected="a folder to write reports to",
        fix="name another one: --output FOLDER",
    )


def write_reports(
    summary: Summary,
    folder: Path,
    title: str = "Segmentation scores",
    strata: Strata | None = None,
    images: Path | None = None,
) -> dict[str, Path]:
    """Write per_case.csv, report.html and summary.json into `folder` (made if need be); returns name -> path.

    Args:
        title: of the report.
        strata: groups of cases to report separately.
        images: folder of images to show behind the pictures (default: looked for beside the references).
    """
    paths = {name: folder / name for name in (CSV_NAME, REPORT_NAME, SUMMARY_NAME)}
    write_csv(summary, paths[CSV_NAME])
    write_html(summary, paths[REPORT_NAME], title, strata, images)
    write_summary(
        summary, paths[SUMMARY_NAME], strata
    )  # last, because its presence says that the evaluation is complete
    return paths
