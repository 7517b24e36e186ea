"""A summary as a table for a terminal."""

from __future__ import annotations

from evaluation.metrics.registry import metric_of
from evaluation.summary import Summary, status_counts

COLUMNS = ("dice", "iou", "precision", "recall", "hd95", "assd")


def summary_table(summary: Summary) -> str:
    """A line a label and one for the mean over labels: means over cases, and how many cases are absent,
    missed or spurious."""
    keys = [
        key
        for key in (*COLUMNS, *(key for key in summary.metrics if key.startswith("nsd_")))
        if key in summary.metrics
    ]
    titles = [_title(key, summary.unit) for key in keys]
    lines = [["label", *titles, "absent", "missed", "spurious"]]
    for label in summary.labels:
        counts = status_counts([row for row in summary.rows if row.label == label])
        means = [summary.per_label[label][key].mean for key in keys]
        lines.append(
            [
                label,
                *map(_number, means),
                *(str(counts[status]) for status in ("absent", "missed", "spurious")),
            ]
        )
    totals = status_counts(summary.rows)
    means = [summary.foreground_mean[key] for key in keys]
    lines.append(
        ["mean", *map(_number, means), *(str(totals[status]) for status in ("absent", "missed", "spurious"))]
    )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join(
            [
                line[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
            ]
        )
        for line in lines
    ]
    rule = "-" * len(text[0])
    cases = (
        f"{len(summary.cases)} case{'' if len(summary.cases) == 1 else 's'}, protocol "
        f"{summary.options.rules.identifier}"
    )
    return "\n".join([text[0], rule, *text[1:-1], rule, text[-1], cases])


def _title(key: str, unit: str) -> str:
    metric = metric_of(key)
    return f"{metric.title} ({unit})" if metric.unit == "length" else metric.title


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"
