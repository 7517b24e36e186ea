"""comparison.html: which of two models is better, by how much, on which labels and in which cases."""

from __future__ import annotations

import numpy as np

from evaluation.comparison import OVERALL, Comparison, ComparisonRow, values_of
from evaluation.definitions import metric_of
from evaluation.reports.html.charts import dumbbells
from evaluation.reports.html.markup import interval, number, p_value, page, section, table, text
from evaluation.summary import Summary

MOST_CASES = 15
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
    return page(title, "".join(body), scripts=())


def _sentence(comparison: Comparison, key: str) -> str:
    row = comparison.row(key)
    labels = [row for row in comparison.rows if row.metric == key and row.label != OVERALL]
    wins = {side: sum(row.verdict == side for row in labels) for side in ("A", "B")}
    name = {"A": comparison.name_a, "B": comparison.name_b}
    who = f"<b>{text(name[row.verdict])} is better</b>" if row.verdict in name else "<b>no clear difference</b>"
    return (
        f"{text(metric_of(key).title)}: {who}. Mean {number(row.mean_a)} (A) and {number(row.mean_b)} (B), difference "
        f"{number(row.test.difference, signed=True)} {interval(row.test.interval)}, p {_equals(row.p_holm)}. "
        f"A wins {row.test.first_wins} cases, B {row.test.second_wins}, {row.test.ties} tie. "
        f"By label: A is better on {wins['A']}, B on {wins['B']}, no clear difference on {len(labels) - wins['A'] - wins['B']}."
    )


def _chart(comparison: Comparison, key: str, unit: str) -> str:
    metric = metric_of(key)
    rows = [
        (row.label, row.mean_a, row.mean_b, KINDS.get(row.verdict, "even"))
        for row in comparison.rows
        if row.metric == key and row.label != OVERALL
    ]
    title = f"mean {metric.title}{f' ({unit})' if metric.unit == 'length' else ''}"
    lead = "Ring: A. Dot: B; green where B is better and red where A is, after Holm's correction; grey where there is no clear difference."
    return section(f"chart-{key}", f"{metric.title} by label", dumbbells(rows, title, metric.family == "distance"), lead)


def _cases(comparison: Comparison, first: Summary, second: Summary, key: str) -> str:
    one, other = values_of(first, key, OVERALL), values_of(second, key, OVERALL)
    apart = np.abs(one - other)
    order = [int(index) for index in np.argsort(-np.nan_to_num(apart, nan=-1.0), kind="stable") if apart[index] > 0][:MOST_CASES]
    higher = metric_of(key).better == "higher"
    rows = []
    for index in order:
        better = "A" if (one[index] > other[index]) == higher else "B"
        difference = number(float(one[index] - other[index]), signed=True)
        rows.append([text(comparison.cases[index]), number(float(one[index])), number(float(other[index])), difference, better])
    body = table(["case", "A", "B", "A − B", "better"], rows) if rows else ""
    return section("cases", "Cases that differ most", body, f"Mean {metric_of(key).title} over the labels of a case.")


def _rows(comparison: Comparison, key: str, unit: str) -> str:
    metric = metric_of(key)
    rows = [_cells(row) for row in comparison.rows if row.metric == key]
    header = ["label", "A", "B", "A − B", "95 % interval", "A better", "tie", "B better", "p (Holm)", "effect", "verdict"]
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
        f"{comparison.name_a} and {comparison.name_b} were compared on the same {len(comparison.cases)} cases with two-sided Wilcoxon "
        "signed-rank tests on paired values; p values of labels were corrected by Holm's method for each metric. Effect sizes are "
        "matched-pairs rank-biserial correlations, positive where A has the larger value. Intervals are 95 % percentile bootstrap "
        f"intervals of the mean difference over cases (2000 resamples). {first.options.rules.text}"
    )
