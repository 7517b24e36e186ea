"""Writing every report of a summary into a folder."""

from __future__ import annotations

from pathlib import Path

from evaluation.reports.per_case_csv import CSV_NAME, write_csv
from evaluation.reports.summary_json import SUMMARY_NAME, write_summary
from evaluation.summary import Summary


def write_reports(summary: Summary, folder: Path) -> dict[str, Path]:
    """Write summary.json and per_case.csv into `folder` (made if need be); returns name -> path."""
    paths = {name: folder / name for name in (CSV_NAME, SUMMARY_NAME)}
    write_csv(summary, paths[CSV_NAME])
    write_summary(summary, paths[SUMMARY_NAME])  # last, because its presence says that the evaluation is complete
    return paths
