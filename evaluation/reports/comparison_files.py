"""A comparison of two models as a table for a terminal, as JSON and as CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from balrsam_pipeline.files import write_json, write_text
from balrsam_pipeline.serialise import to_json
from evaluation.comparison import OVERALL, Comparison, ComparisonRow
from evaluation.metrics.registry import metric_of
from evaluation.reports.html.comparison_page import comparison_page
from evaluation.reports.html.markup import p_value
from evaluation.summary import Summary

COMPARISON_NAME = "comparison.json"
COMPARISON_CSV_NAME = "comparison.csv"
COMPARISON_HTML_NAME = "comparison.html"
HEADER = ("metric", "label", "A", "B", "A - B", "95 % interval", "A:tie:B", "p (Holm)", "effect", "better")


def comparison_table(comparison: Comparison, metrics: tuple[str, ...] = ("dice", "hd95")) -> str:
    """The rows of the main metrics, aligned, and what the columns mean."""
    shown = [row for row in comparison.rows if row.metric in metrics] or list(comparison.rows)
    lines = [HEADER, *(_cells(row) for row in shown)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADER))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join(
        [
            f"A: {comparison.name_a}",
            f"B: {comparison.name_b}",
            f"{len(comparison.cases)} cases",
            "",
            text[0],
            "-" * len(text[0]),
            *text[1:],
            "",
            "A:tie:B counts cases by who is better. p: two-sided Wilcoxon signed-rank test, Holm-corrected "
            "over labels.",
            "effect: matched-pairs rank-biserial correlation of A - B. better: where p is below 0.05.",
        ]
    )


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
    write_text(paths[COMPARISON_CSV_NAME], pd.DataFrame(comparison_records(comparison)).to_csv(index=False))
    write_text(paths[COMPARISON_HTML_NAME], comparison_page(comparison, first, second))
    write_json(paths[COMPARISON_NAME], to_json(comparison))
    return paths


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    test = row.test
    interval = f"{test.interval[0]:+.3f} … {test.interval[1]:+.3f}" if test.interval else "–"
    return (
        metric_of(row.metric).title,
        OVERALL if row.label == OVERALL else row.label,
        number(row.mean_a),
        number(row.mean_b),
        "–" if test.difference is None else f"{test.difference:+.4f}",
        interval,
        f"{test.first_wins}:{test.ties}:{test.second_wins}",
        p_value(row.p_holm),
        "–" if test.effect is None else f"{test.effect:+.2f}",
        row.verdict if row.verdict in ("A", "B") else "",
    )


def number(value: float | None) -> str:
    """A score in four significant places or so; '–' where there is none."""
    return "–" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
