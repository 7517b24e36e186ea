"""comparison.html: which of two models is better, by how much, on which labels and in which cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluation.comparison import OVERALL, Comparison, ComparisonRow, case_values, paired_values
from evaluation.metrics.registry import metric_of
from evaluation.reports.html.charts import dumbbells
from evaluation.reports.html.markup import embedded, interval, number, p_value, page, section, table, text
from evaluation.summary import Summary

KINDS = {"A": "lose", "B": "win"}


def comparison_page(comparison: Comparison, first: Summary, second: Summary) -> str:
    """The page of a comparison; `first` and `second` are what was compared."""
    metrics = list(dict.fromkeys(row.metric for row in comparison.rows))
    main = [key for key in ("dice", "hd95", *metrics) if key in metrics]
    main = list(dict.fromkeys(main))[:2]
    title = f"{comparison.name_a} (A) and {comparison.name_b} (B)"
    body = [
        f"<h1>{text(title)}</h1><p class='sub'>{len(comparison.cases)} cases scored alike, "
        f"protocol {text(first.options.rules.identifier)}</p>",
        "".join(f"<p class='verdict'>{_sentence(comparison, key)}</p>" for key in main),
        *(_chart(comparison, key, first.unit) for key in main),
        _cases(comparison, first, second, main[0]),
        *(_rows(comparison, key, first.unit) for key in main),
        _others("".join(_rows(comparison, key, first.unit) for key in metrics if key not in main)),
        section("method", "Method", f"<p class='method'>{text(_method(comparison, first))}</p>"),
    ]
    return page(
        title,
        "".join(body),
        [embedded("comparison-data", _data(first, second, main))],
        scripts=("tables.js",),
    )


def _sentence(comparison: Comparison, key: str) -> str:
    row = comparison.row(key)
    labels = [row for row in comparison.rows if row.metric == key and row.label != OVERALL]
    wins = {side: sum(row.verdict == side for row in labels) for side in ("A", "B")}
    name = {"A": comparison.name_a, "B": comparison.name_b}
    who = (
        f"<b>{text(name[row.verdict])} is better</b>" if row.verdict in name else "<b>no clear difference</b>"
    )
    return (
        f"{text(metric_of(key).title)}: {who}. Mean {number(row.mean_a)} (A) and {number(row.mean_b)} (B), "
        "difference "
        f"{number(row.test.difference, signed=True)} {interval(row.test.interval)}, p {_equals(row.p_holm)}. "
        f"A wins {row.test.first_wins} cases, B {row.test.second_wins}, {row.test.ties} tie. "
        f"By label: A is better on {wins['A']}, B on {wins['B']}, no clear difference on "
        f"{len(labels) - wins['A'] - wins['B']}."
    )


def _chart(comparison: Comparison, key: str, unit: str) -> str:
    metric = metric_of(key)
    rows = [
        (row.label, row.mean_a, row.mean_b, KINDS.get(row.verdict, "even"))
        for row in comparison.rows
        if row.metric == key and row.label != OVERALL
    ]
    title = f"mean {metric.title}{f' ({unit})' if metric.unit == 'length' else ''}"
    lead = (
        "Ring: A. Dot: B; green where B is better and red where A is, after Holm's correction; grey "
        "where "
        "there is no clear difference."
    )
    return section(
        f"chart-{key}", f"{metric.title} by label", dumbbells(rows, title, metric.family == "distance"), lead
    )


def _cases(comparison: Comparison, first: Summary, second: Summary, key: str) -> str:
    one, other = (case_values(table_cl) for table_cl in paired_values(first, second, key))
    apart = np.nan_to_num(np.abs(one - other), nan=-1.0)
    higher = metric_of(key).better == "higher"
    order = [int(index) for index in np.argsort(-apart, kind="stable")]
    rows = []
    for index in order:
        a, b = (None if np.isnan(values[index]) else float(values[index]) for values in (one, other))
        difference = None if a is None or b is None else a - b
        better = (
            "–"
            if difference is None
            else "tie"
            if difference == 0
            else "A"
            if (difference > 0) == higher
            else "B"
        )
        rows.append(
            [text(comparison.cases[index]), number(a), number(b), number(difference, signed=True), better]
        )
    attributes = [f"class='open-case' tabindex='0' data-case='{index}'" for index in order]
    options = "".join(
        f"<option value='{value}'>{title}</option>"
        for value, title in (("", "all"), ("A", "A"), ("B", "B"), ("tie", "tie"))
    )
    controls = (
        "<div class='controls'><label>find <input type='search' data-filter='cases'></label>"
        f"<label>better <select data-filter='cases'>{options}</select></label><span id='shown-count' "
        "class='small'></span></div>"
    )
    body = (
        controls
        + table(["case", "A", "B", "A − B", "better"], rows, attributes)
        + "<div id='case-detail' hidden></div>"
    )
    lead = (
        f"Mean {metric_of(key).title} over the labels of a case, largest difference first. Click a "
        "column "
        "to sort, a row to open."
    )
    return section("cases", "Every case", body, lead)


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


def _rows(comparison: Comparison, key: str, unit: str) -> str:
    metric = metric_of(key)
    rows = [_cells(row) for row in comparison.rows if row.metric == key]
    header = [
        "label",
        "A",
        "B",
        "A − B",
        "95 % interval",
        "cases",
        "A better",
        "tie",
        "B better",
        "p (Holm)",
        "effect",
        "verdict",
    ]
    title = f"{metric.title}{f' ({unit})' if metric.unit == 'length' else ''}"
    return section(f"table-{key}", title, table(header, rows), f"{metric.better} is better")


def _others(tables: str) -> str:
    return f"<details><summary>The other metrics</summary>{tables}</details>" if tables else ""


def _cells(row: ComparisonRow) -> list[str]:
    test = row.test
    kind = "better" if row.verdict in KINDS else "small"
    return [
        text(row.label),
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
        f"<span class='{kind}'>{row.verdict}</span>",
    ]


def _equals(value: float | None) -> str:
    shown = p_value(value)
    return shown if shown.startswith("<") else f"= {shown}"


def _method(comparison: Comparison, first: Summary) -> str:
    return (
        f"{comparison.name_a} and {comparison.name_b} were compared on the same {len(comparison.cases)} "
        "cases with two-sided Wilcoxon "
        "signed-rank tests on paired values; p values of labels were corrected by Holm's method for each "
        "metric. Effect sizes are "
        "matched-pairs rank-biserial correlations, positive where A has the larger value. Intervals are 95 % "
        "percentile bootstrap intervals of the mean difference over cases (2000 resamples). All numbers of a "
        "row rest on the same cases: a label that one model rightly leaves out and the other paints counts "
        "as perfect for the one; what else has a value in one alone is left out of both. "
        f"{first.options.rules.text}"
    )
