"""comparison.html: which of two models is better, by how much, on which labels and in which cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from balrsam_pipeline.printable import plural
from evaluation.comparison import (
    OVERALL,
    Comparison,
    ComparisonRow,
    alike,
    case_values,
    paired_values,
)
from evaluation.metrics.registry import metric_of
from evaluation.reports.html.charts import dumbbells
from evaluation.reports.html.markup import Cell, Row, Table, interval, number, p_value, page
from evaluation.summary import Summary

KINDS = {"A": "lose", "B": "win"}
HEADER = ("label", "A", "B", "A − B", "95 % interval", "cases", "A better", "tie", "B better", "p (Holm)")


@dataclass(frozen=True, slots=True)
class _Verdict:
    """Who is better by one metric: `winner` is '' where there is no clear difference."""

    title: str
    winner: str
    row: ComparisonRow
    p: str
    wins_a: int
    wins_b: int
    undecided: int


@dataclass(frozen=True, slots=True)
class _Chart:
    key: str
    title: str
    drawing: Markup


@dataclass(frozen=True, slots=True)
class _MetricTable:
    key: str
    title: str
    lead: str
    table: Table


def comparison_page(comparison: Comparison, first: Summary, second: Summary) -> str:
    """The page of a comparison; `first` and `second` are what was compared."""
    first, second = alike(first, second)
    metrics = list(dict.fromkeys(row.metric for row in comparison.rows))
    main = list(dict.fromkeys(key for key in ("dice", "hd95", *metrics) if key in metrics))[:2]
    return page(
        "comparison.html",
        ("tables.js",),
        title=f"{comparison.name_a} (A) and {comparison.name_b} (B)",
        comparison=comparison,
        protocol=first.options.rules,
        verdicts=[_verdict(comparison, key) for key in main],
        charts=[_chart(comparison, key, first.unit) for key in main],
        main_title=metric_of(main[0]).title,
        cases=_cases(comparison, first, second, main[0]),
        main_tables=[_table(comparison, key, first.unit) for key in main],
        other_tables=[_table(comparison, key, first.unit) for key in metrics if key not in main],
        method=_method(comparison, first),
        data=_data(first, second, main),
    )


def _verdict(comparison: Comparison, key: str) -> _Verdict:
    row = comparison.row(key)
    labels = [row.verdict for row in comparison.rows if row.metric == key and row.label != OVERALL]
    wins_a, wins_b = labels.count("A"), labels.count("B")
    winner = {"A": comparison.name_a, "B": comparison.name_b}.get(row.verdict, "")
    undecided = len(labels) - wins_a - wins_b
    return _Verdict(metric_of(key).title, winner, row, _equals(row.p_holm), wins_a, wins_b, undecided)


def _chart(comparison: Comparison, key: str, unit: str) -> _Chart:
    metric = metric_of(key)
    rows = [
        (row.label, row.mean_a, row.mean_b, KINDS.get(row.verdict, "even"))
        for row in comparison.rows
        if row.metric == key and row.label != OVERALL
    ]
    drawing = dumbbells(rows, f"mean {_titled(key, unit)}", metric.family == "distance")
    return _Chart(key, f"{metric.title} by label", drawing)


def _titled(key: str, unit: str) -> str:
    metric = metric_of(key)
    return f"{metric.title} ({unit})" if metric.unit == "length" else metric.title


def _cases(comparison: Comparison, first: Summary, second: Summary, key: str) -> Table:
    """Every case by how much the models differ, the largest difference first."""
    one, other = (case_values(table_cl) for table_cl in paired_values(first, second, key))
    apart = np.nan_to_num(np.abs(one - other), nan=-1.0)
    higher = metric_of(key).better == "higher"
    rows = []
    for index in map(int, np.argsort(-apart, kind="stable")):
        if np.isnan(one[index]):
            texts = ["–", "–", "–", "–"]
        else:
            a, b = float(one[index]), float(other[index])
            better = "tie" if a == b else "A" if (a > b) == higher else "B"
            texts = [number(a), number(b), number(a - b, signed=True), better]
        rows.append(Row((Cell(comparison.cases[index]), *map(Cell, texts)), case=index))
    return Table(("case", "A", "B", "A − B", "better"), tuple(rows))


def _data(first: Summary, second: Summary, keys: Sequence[str]) -> dict[str, Any]:
    """Both models' values of every case and label, for the script that opens a case."""
    tables = {key: paired_values(first, second, key) for key in keys}

    def rows(table_cl: npt.NDArray[np.float64]) -> list[list[float | None]]:
        return [[None if np.isnan(value) else float(f"{value:.5g}") for value in row] for row in table_cl]

    return {
        "labels": list(first.labels),
        "metrics": [
            {"title": metric_of(key).title, "a": rows(tables[key][0]), "b": rows(tables[key][1])}
            for key in keys
        ],
    }


def _table(comparison: Comparison, key: str, unit: str) -> _MetricTable:
    rows = tuple(Row(_cells(row)) for row in comparison.rows if row.metric == key)
    table = Table((*HEADER, "effect", "verdict"), rows)
    return _MetricTable(key, _titled(key, unit), f"{metric_of(key).better} is better", table)


def _cells(row: ComparisonRow) -> tuple[Cell, ...]:
    test = row.test
    texts = [
        row.label,
        number(row.mean_a),
        number(row.mean_b),
        number(test.difference, signed=True),
        interval(test.interval),
        f"{test.pairs}" + (f" ({row.left_out} left out)" if row.left_out else ""),
        str(test.first_wins),
        str(test.ties),
        str(test.second_wins),
        p_value(row.p_holm),
        "–" if test.effect is None else f"{test.effect:+.2f}",
    ]
    return *map(Cell, texts), Cell(row.verdict, kind="better" if row.verdict in KINDS else "small")


def _equals(value: float | None) -> str:
    shown = p_value(value)
    return shown if shown.startswith("<") else f"= {shown}"


def _method(comparison: Comparison, first: Summary) -> str:
    return (
        f"{comparison.name_a} and {comparison.name_b} were compared on the same "
        f"{plural(len(comparison.cases), 'case')} with two-sided Wilcoxon signed-rank tests on paired "
        "values; p values of labels were corrected by Holm's method for each metric. Effect sizes are "
        "matched-pairs rank-biserial correlations, positive where A has the larger value. Intervals are 95 % "
        "percentile bootstrap intervals of the mean difference over cases (2000 resamples). All numbers of a "
        "row rest on the same cases: a label that one model rightly leaves out and the other paints counts "
        "as perfect for the one; what else has a value in one alone is left out of both. "
        f"{first.options.rules.text}"
    )
