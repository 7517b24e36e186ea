"""Writing the reports of a summary, or of a comparison, into a folder: HTML, JSON and CSV."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.files import ESCAPED, atomic_path, write_json, write_text
from balrsam_pipeline.layout import PER_CASE, REPORT, SUMMARY, ScoredFolder, further_cases_folder
from balrsam_pipeline.printable import as_text
from balrsam_pipeline.protect import require_own
from balrsam_pipeline.serialise import to_json
from evaluation.comparison import Comparison
from evaluation.reports.html.comparison_page import comparison_page
from evaluation.reports.html.report import write_html
from evaluation.reports.strata import Strata
from evaluation.reports.summary_json import is_our_summary, write_summary
from evaluation.summary import Summary

if TYPE_CHECKING:
    import pandas as pd

ROWS_AT_ONCE = 5000
COMPARISON_NAME = "comparison.json"
COMPARISON_CSV_NAME = "comparison.csv"
COMPARISON_HTML_NAME = "comparison.html"
ROW_COLUMNS, COMPARISON_COLUMNS = ("case", "label", "status"), ("metric", "label", "mean_a")  # the first ones


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


def require_own_reports(folder: Path) -> None:
    """Refuse to replace reports of scores that we did not write.

    Raises:
        UsageError: there are such; nothing was touched.
    """
    scored = ScoredFolder(folder)
    if is_our_summary(scored.summary):  # whatever a spreadsheet made of the table
        return
    others = scored.summary, scored.report, further_cases_folder(scored.report)
    require_own([scored.per_case, *others], scored.per_case, _begins_with(ROW_COLUMNS))


def require_own_comparison(folder: Path) -> None:
    """Refuse to replace reports of a comparison that we did not write.

    Raises:
        UsageError: there are such; nothing was touched.
    """
    table = folder / COMPARISON_CSV_NAME
    others = folder / COMPARISON_HTML_NAME, folder / COMPARISON_NAME
    require_own([table, *others], table, _begins_with(COMPARISON_COLUMNS))


def _begins_with(columns: Sequence[str]) -> Callable[[Path], bool]:
    """Whether a file is a table with these first columns: others have tables of the same name, too."""
    start = f"{','.join(columns)},".encode()

    def is_ours(path: Path) -> bool:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(start)) == start

    return is_ours


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
    paths = {name: folder / name for name in (PER_CASE, REPORT, SUMMARY)}
    write_per_case(summary, paths[PER_CASE])
    write_html(summary, paths[REPORT], title, strata, images)
    write_summary(
        summary, paths[SUMMARY], strata
    )  # last, because its presence says that the evaluation is complete
    return paths


def comparison_records(comparison: Comparison) -> list[dict[str, Any]]:
    """The rows as flat records, for a data frame."""
    records = []
    for row in comparison.rows:
        value = to_json(row)
        test = value.pop("test")
        low, high = test.pop("interval") or (None, None)
        records.append(value | test | {"interval_low": low, "interval_high": high})
    return records


def write_comparison(
    comparison: Comparison, first: Summary, second: Summary, folder: Path
) -> dict[str, Path]:
    """Write comparison.csv, comparison.html and comparison.json into `folder`; returns name -> path."""
    import pandas as pd  # here, because help must not load it

    paths = {name: folder / name for name in (COMPARISON_CSV_NAME, COMPARISON_HTML_NAME, COMPARISON_NAME)}
    write_csv(pd.DataFrame(comparison_records(comparison)), paths[COMPARISON_CSV_NAME])
    write_text(paths[COMPARISON_HTML_NAME], comparison_page(comparison, first, second))
    write_json(paths[COMPARISON_NAME], to_json(comparison))
    return paths


def write_per_case(summary: Summary, path: Path) -> None:
    """Write the rows of a summary as `write_csv` does, some at a time: the table of 100,000 cases is never in
    memory as a whole."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", errors=ESCAPED) as file:
        for first in range(0, max(1, len(summary.rows)), ROWS_AT_ONCE):
            some = replace(summary, rows=summary.rows[first : first + ROWS_AT_ONCE])
            file.write(_csv(some.to_frame(), header=first == 0))


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table to `path`, atomically; undefined values are empty cells.

    An apostrophe goes before each text that a spreadsheet would take for a formula, such as the case '=1+1'.
    """
    write_text(path, _csv(frame, header=True))


def _csv(frame: pd.DataFrame, header: bool) -> str:
    return frame.map(_as_text).rename(columns=_as_text).to_csv(index=False, header=header)


def _as_text(cell: Any) -> Any:
    return as_text(cell) if isinstance(cell, str) else cell
