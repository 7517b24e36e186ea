"""Where there are more cases than a page should carry: which are on it, and the pages beside it that hold the
others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.files import write_text
from balrsam_pipeline.layout import further_cases_folder
from balrsam_pipeline.whole_numbers import whole_number
from evaluation.metrics.registry import metric_of
from evaluation.metrics.score_case import LabelScore
from evaluation.reports.html.markup import Cell, Row, Table, number, page
from evaluation.reports.html.sections import titled
from evaluation.summary import Summary, case_means, counted_value

MOST_ROWS = 40_000  # of the report itself, a case and label each: about 4 MB
ROWS_OF_A_PAGE = 5_000  # beside it


@dataclass(frozen=True, slots=True)
class FurtherPage:
    """A page of cases beside the report: its address from there, and its first and last case."""

    address: str
    first: str
    last: str


def divided(summary: Summary) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The cases on the report itself, which are those of the lowest mean Dice, and the others; each in the
    order of names."""
    cases, most = summary.cases, max(1, MOST_ROWS // max(1, len(summary.labels)))
    if len(cases) <= most:
        return cases, ()
    means = case_means(summary, "dice")
    worst_first = sorted(cases, key=lambda case: (means.get(case, float("inf")), case))
    here = set(worst_first[:most])
    return tuple(case for case in cases if case in here), tuple(case for case in cases if case not in here)


def write_further(
    summary: Summary, cases: Sequence[str], keys: Sequence[str], report: Path, title: str
) -> tuple[FurtherPage, ...]:
    """Write the pages of `cases` beside `report`; those that an earlier, larger report left are removed."""
    folder = further_cases_folder(report)
    at_once = max(1, ROWS_OF_A_PAGE // max(1, len(summary.labels)))
    rows: dict[str, list[LabelScore]] = {case: [] for case in cases}
    for row in summary.rows:
        if row.case in rows:
            rows[row.case].append(row)
    pages = []
    for start in range(0, len(cases), at_once):
        own = cases[start : start + at_once]
        path = folder / f"{start // at_once + 1:04d}.html"
        write_text(
            path,
            page(
                "further_cases.html",
                ("tables.js",),
                title=title,
                first=own[0],
                last=own[-1],
                report=report.name,
                table=_table(summary, [row for case in own for row in rows[case]], keys),
            ),
        )
        pages.append(FurtherPage(f"{folder.name}/{path.name}", own[0], own[-1]))
    _remove_outdated(folder, len(pages))
    return tuple(pages)


def _table(summary: Summary, rows: Sequence[LabelScore], keys: Sequence[str]) -> Table:
    metrics = [metric_of(key) for key in keys]
    lines = []
    for row in rows:
        values = (counted_value(row, metric, summary.options.rules) for metric in metrics)
        lines.append(
            Row(
                (
                    Cell(row.case),
                    Cell(row.label),
                    Cell(row.status, kind=f"badge {row.status}"),
                    *(Cell(number(value)) for value in values),
                )
            )
        )
    titles = (titled(key, summary.unit) for key in keys)
    return Table(("case", "label", "status", *titles), tuple(lines))


def _remove_outdated(folder: Path, pages: int) -> None:
    if not folder.is_dir():
        return
    for path in folder.glob("*.html"):
        number_of_page = whole_number(path.stem)
        if number_of_page is not None and number_of_page > pages:
            path.unlink()
    if not pages and not any(folder.iterdir()):
        folder.rmdir()
