"""A summary, or a comparison of two, as a table for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from balrsam_pipeline.printable import plural
from evaluation.comparison import Comparison, ComparisonRow
from evaluation.metrics.registry import metric_of
from evaluation.reports.html.markup import p_value
from evaluation.summary import Summary, status_counts

COMPARISON_COLUMNS = ("A", "B", "A - B", "95 % interval", "A:tie:B", "p", "better")
LINE_WIDTH, LABEL_WIDTH, SHORTEST_LABEL = 80, 24, 8
COLUMNS = ("dice", "iou", "precision", "recall", "hd95", "assd")


def summary_table(summary: Summary) -> str:
    """Means over cases, one line per label and one for the mean over labels, in at most 80 columns; then how
    many cases are absent, missed or spurious, where there are any."""
    keys = [
        key
        for key in (*COLUMNS, *(key for key in summary.metrics if key.startswith("nsd_")))
        if key in summary.metrics
    ]
    lines = [["label", *(_title(key, summary.unit) for key in keys)]]
    for label in summary.labels:
        means = [summary.per_label[label][key].mean for key in keys]
        lines.append([_shortened(label), *map(_number, means)])
    lines.append(["mean", *(_number(summary.foreground_mean[key]) for key in keys)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    fitting = _fitting(widths)
    text = [
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:fitting], widths[1:fitting], strict=True)),
            ]
        )
        for line in lines
    ]
    rule = "-" * len(text[0])
    more = [f"not shown: {', '.join(lines[0][fitting:])} (summary.json)"] if fitting < len(widths) else []
    cases = f"{plural(len(summary.cases), 'case')}, protocol {summary.options.rules.identifier}"
    return "\n".join([text[0], rule, *text[1:-1], rule, text[-1], *more, cases, *_odd_cases(summary)])


def _odd_cases(summary: Summary) -> list[str]:
    """Of each label, how many cases have no reference or no prediction of it."""
    lines = []
    for label in summary.labels:
        counts = status_counts([row for row in summary.rows if row.label == label])
        odd = [f"{counts[status]} {status}" for status in ("absent", "missed", "spurious") if counts[status]]
        lines += [f"{label}: {', '.join(odd)}"] if odd else []
    return lines


def _fitting(widths: Sequence[int]) -> int:
    """How many columns fit on a line."""
    used = 0
    for count, width in enumerate(widths):
        used += width + (2 if count else 0)
        if used > LINE_WIDTH:
            return count
    return len(widths)


def _shortened(label: str, width: int = LABEL_WIDTH) -> str:
    return label if len(label) <= width else label[: width - 1] + "…"


def comparison_table(comparison: Comparison, metrics: tuple[str, ...] = ("dice", "hd95")) -> str:
    """The main metrics, one table each in at most 80 columns, and what the columns mean."""
    shown = [row for row in comparison.rows if row.metric in metrics] or list(comparison.rows)
    cells = {row: _cells(row) for row in shown}
    lines = [COMPARISON_COLUMNS, *cells.values()]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COMPARISON_COLUMNS))]
    room = LINE_WIDTH - sum(widths) - 2 * len(widths)
    names = [_shortened(row.label, max(SHORTEST_LABEL, min(room, LABEL_WIDTH))) for row in shown]
    names_width = max(map(len, (*names, "label")))
    text = []
    for key in dict.fromkeys(row.metric for row in shown):
        header = _aligned("label", COMPARISON_COLUMNS, names_width, widths)
        text += ["", f"{metric_of(key).title} ({metric_of(key).better} is better)", header, "-" * len(header)]
        text += [
            _aligned(name, cells[row], names_width, widths)
            for name, row in zip(names, shown, strict=True)
            if row.metric == key
        ]
    return "\n".join(
        [
            f"A: {comparison.name_a}",
            f"B: {comparison.name_b}",
            plural(len(comparison.cases), "case"),
            *map(_filled, comparison.notes),
            *text,
            "",
            *map(_filled, _left_out(shown)),
            "A:tie:B counts cases by who is better. p: two-sided Wilcoxon signed-rank test,",
            "Holm-corrected over labels. better: where p is below 0.05. Effect sizes and",
            "other metrics: --output FOLDER.",
        ]
    )


def _aligned(name: str, cells: Sequence[str], name_width: int, widths: Sequence[int]) -> str:
    """A line of the table, names to the left and numbers to the right."""
    numbers = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "  ".join([name.ljust(name_width), *numbers]).rstrip()


def _filled(text: str) -> str:
    return textwrap.fill(text, LINE_WIDTH, break_long_words=False)


def _title(key: str, unit: str) -> str:
    metric = metric_of(key)
    return f"{metric.title} ({unit})" if metric.unit == "length" else metric.title


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def _cells(row: ComparisonRow) -> tuple[str, ...]:
    test = row.test
    interval = f"{_signed(test.interval[0])}…{_signed(test.interval[1])}" if test.interval else "–"
    return (
        _number(row.mean_a),
        _number(row.mean_b),
        "–" if test.difference is None else _signed(test.difference),
        interval,
        f"{test.first_wins}:{test.ties}:{test.second_wins}",
        p_value(row.p_holm).replace(" ", ""),
        row.verdict if row.verdict in ("A", "B") else "",
    )


def _signed(value: float) -> str:
    return f"{value:+.4f}" if abs(value) < 1 else f"{value:+.2f}"


def _left_out(rows: Sequence[ComparisonRow]) -> list[str]:
    """A line on cases that are in neither means nor tests, where there are any."""
    lost = [f"{metric_of(row.metric).title} of {row.label}: {row.left_out}" for row in rows if row.left_out]
    return [f"left out, because one model alone has a value: {'; '.join(lost)}."] if lost else []
