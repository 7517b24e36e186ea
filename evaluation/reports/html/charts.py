"""Charts as inline SVG, drawn with the page's colours; every text in them goes through `text`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from evaluation.metrics.registry import metric_of
from evaluation.reports.html.axis import (
    BOTTOM,
    FEWEST_FOR_BOX,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    arrow,
    axis,
    scale_of,
)
from evaluation.reports.html.markup import number, text
from evaluation.summary import Summary, counted_value

ROW = 26  # pixels
MOST_DOTS = 150  # per label; with more, dots hide the box


def box_plots(summary: Summary, key: str) -> Markup:
    """One row per label: a dot per case, a box from five cases on, a cross for missed and spurious ones; of
    the values that means are of."""
    metric, rules = metric_of(key), summary.options.rules
    scored = [
        (row.label, row.case, counted_value(row, metric, rules))
        for row in summary.rows
        if row.status == "scored"
    ]
    values = {
        name: [(case, value) for label, case, value in scored if label == name and value is not None]
        for name in summary.labels
    }
    gone = {
        label: sum(row.label == label and row.status in ("missed", "spurious") for row in summary.rows)
        for label in summary.labels
    }
    rows = [[value for _, value in pairs] for pairs in values.values()]
    if not any(rows):
        return Markup("<p class='sub'>No label is in both masks of any case.</p>")
    scale = scale_of(rows, metric.family == "distance")
    bad = WIDTH - RIGHT + 26 if metric.better == "lower" else LEFT - 18
    height = TOP + ROW * len(summary.labels) + BOTTOM
    title = f"{metric.title}{f' ({summary.unit})' if metric.unit == 'length' else ''}"
    parts = [axis(scale, height, title, rows)]
    for index, label in enumerate(summary.labels):
        middle = TOP + ROW * index + ROW / 2
        there = values[label]
        parts.append(
            f"<text x='{LEFT - 32}' y='{middle + 4}' "
            f"text-anchor='end'>{text(_short(label))}<title>{text(label)}</title></text>"
        )
        parts += _row([value for _, value in there], [case for case, _ in there], middle, scale)
        if gone[label]:
            parts.append(_cross(bad, middle, gone[label], metric.better == "lower"))
    return _drawing(height, f"{title} per label", parts)


def group_boxes(
    groups: Mapping[str, Sequence[tuple[str, float]]], title: str, distance: bool = False
) -> Markup:
    """One row per group of cases: one dot per case, a box from five cases on.

    Args:
        groups: name -> (case, value) pairs.
        distance: values from 0 upwards, instead of a metric up to 1.
    """
    rows = [[value for _, value in pairs] for pairs in groups.values()]
    if not any(rows):
        return Markup("")
    scale = scale_of(rows, distance)
    height = TOP + ROW * len(groups) + BOTTOM
    parts = [axis(scale, height, title, rows)]
    for index, (name, pairs) in enumerate(groups.items()):
        middle = TOP + ROW * index + ROW / 2
        parts.append(
            f"<text x='{LEFT - 12}' y='{middle + 4}' "
            f"text-anchor='end'>{text(_short(name))}<title>{text(name)}</title></text>"
        )
        parts += _row([value for _, value in pairs], [case for case, _ in pairs], middle, scale)
    return _drawing(height, title, parts)


def dumbbells(
    rows: Sequence[tuple[str, float | None, float | None, str]], title: str, distance: bool
) -> Markup:
    """One row per label: A as a ring, B as a dot, joined by a line.

    Args:
        rows: label, A's mean, B's mean, and the class that colours B: 'win', 'lose' or 'even'.
    """
    values = [[value for value in pair if value is not None] for _, *pair, _ in rows]
    if not any(values):
        return Markup("")
    scale = scale_of(values, distance)
    height = TOP + ROW * len(rows) + BOTTOM
    parts = [axis(scale, height, title, values)]
    for index, (label, first, second, kind) in enumerate(rows):
        middle = TOP + ROW * index + ROW / 2
        parts.append(
            f"<text x='{LEFT - 12}' y='{middle + 4}' "
            f"text-anchor='end'>{text(_short(label))}<title>{text(label)}</title></text>"
        )
        if first is None or second is None:
            continue
        one, other = scale.x(first), scale.x(second)
        parts.append(f"<line class='link' x1='{one:.1f}' x2='{other:.1f}' y1='{middle}' y2='{middle}'/>")
        parts.append(
            arrow(scale, second, middle, "B", kind)
            if scale.is_beyond(second)
            else f"<circle class='{kind}' cx='{other:.1f}' cy='{middle}' r='5.5'><title>B {number(second)}"
            "</title></circle>"
        )
        parts.append(
            arrow(scale, first, middle, "A", "hollow")
            if scale.is_beyond(first)
            else f"<circle class='hollow' cx='{one:.1f}' cy='{middle}' r='5'><title>A {number(first)}</title>"
            "</circle>"
        )
    return _drawing(height, title, parts)


def _drawing(height: float, title: str, parts: Sequence[str]) -> Markup:
    """Parts in which every text is escaped already, as one picture."""
    inner = "".join(parts)
    return Markup(f"<svg viewBox='0 0 {WIDTH} {height}' role='img' aria-label='{text(title)}'>{inner}</svg>")


def _row(values: Sequence[float], cases: Sequence[str], middle: float, scale: Scale) -> list[str]:
    parts = []
    if len(values) >= FEWEST_FOR_BOX:
        low, first, median, third, high = np.percentile(values, [0, 25, 50, 75, 100])
        reach = 1.5 * (third - first)  # Tukey's whiskers
        inner = [value for value in values if first - reach <= value <= third + reach]
        low, high = max(low, min(inner)), min(high, max(inner))
        left, right = scale.x(first), scale.x(third)
        parts.append(
            f"<line class='whisker' x1='{scale.x(low):.1f}' x2='{scale.x(high):.1f}' y1='{middle}' "
            f"y2='{middle}'/>"
        )
        parts.append(
            f"<rect class='box' x='{left:.1f}' y='{middle - 8}' width='{max(right - left, 1):.1f}' "
            "height='16' rx='2'/>"
        )
        parts.append(
            f"<line class='median' x1='{scale.x(median):.1f}' x2='{scale.x(median):.1f}' y1='{middle - 8}' "
            f"y2='{middle + 8}'/>"
        )
    radius = 5 if len(values) == 1 else 2.6
    for index, (case, value) in enumerate(zip(cases, values, strict=True)):
        y = middle + ((index * 7) % 11 - 5) * (0.9 if len(values) > 1 else 0)
        if scale.is_beyond(value):
            parts.append(arrow(scale, value, y, case))
        elif len(values) <= MOST_DOTS:
            title = f"<title>{text(case)}: {number(value)}</title>"
            parts.append(
                f"<circle class='dot' cx='{scale.x(value):.1f}' cy='{y:.1f}' r='{radius}'>{title}</circle>"
            )
    return parts


def _cross(x: float, y: float, count: int, after: bool) -> str:
    cross = (
        f"<path class='gone' d='M{x - 4} {y - 4}l8 8m0 -8l-8 8'><title>{count} missed or "
        "spurious</title></path>"
    )
    label = f"<text class='tick' x='{x + 10}' y='{y + 4}'>{count}</text>" if after and count > 1 else ""
    return cross + label


def _short(label: str) -> str:
    return label if len(label) <= 26 else label[:25] + "…"
