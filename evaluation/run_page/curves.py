"""Line charts as inline SVG: a line for each fold, a dot for each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from evaluation.reports.html.markup import text
from evaluation.view import colours_of

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 240, 52, 16, 28, 36
MOST_DOTS = 40  # points of a line that get a dot
Points = Sequence[tuple[float, float]]


def line_chart(
    lines: Mapping[str, Points], title: str, across: str, ends: tuple[float, float] | None = None
) -> Markup:
    """Lines over a common axis; nothing where no line has a point.

    Args:
        lines: name -> (x, y) points, x ascending.
        across: what x is, with its unit.
        ends: of the upward axis; None takes those of the values.
    """
    points = [point for line in lines.values() for point in line if all(map(math.isfinite, point))]
    if not points:
        return Markup("")
    low, high = ends or (min(y for _, y in points), max(y for _, y in points))
    high = high if high > low else low + 1.0
    last = max(x for x, _ in points) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        right = LEFT + x / last * (WIDTH - LEFT - RIGHT)
        share = (min(max(y, low), high) - low) / (high - low)
        return round(right, 1), round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f"<text x='{LEFT}' y='16'>{text(title)}</text>"]
    parts += _axes(low, high, last, across)
    for number, (name, line) in enumerate(lines.items()):
        red, green, blue = colours_of(number + 1)[-1]
        colour = f"rgb({red},{green},{blue})"
        places = [place(x, y) for x, y in line if math.isfinite(x) and math.isfinite(y)]
        joined = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f"<polyline points='{joined}' fill='none' stroke='{colour}' stroke-width='1.8'/>")
        if len(places) <= MOST_DOTS:
            parts += [f"<circle cx='{x}' cy='{y}' r='2.6' fill='{colour}'/>" for x, y in places]
        parts.append(_key(number, name, colour))
    body = "".join(parts)
    return Markup(f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' role='img' aria-label='{text(title)}'>{body}</svg>")


def _axes(low: float, high: float, last: float, across: str) -> list[str]:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        parts.append(f"<line class='grid' x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y}' y2='{y}'/>")
        value, along = low + share * (high - low), share * last
        parts.append(f"<text class='tick' x='{LEFT - 6}' y='{y + 4}' text-anchor='end'>{value:.3g}</text>")
        parts.append(f"<text class='tick' x='{x}' y='{HEIGHT - 20}' text-anchor='middle'>{along:.3g}</text>")
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f"<text class='tick' x='{middle}' y='{HEIGHT - 4}' text-anchor='middle'>{text(across)}</text>"
    )
    return parts


def _key(number: int, name: str, colour: str) -> str:
    x = WIDTH - RIGHT - 64 * (number % 5) - 58
    y = 10 + 12 * (number // 5)
    return (
        f"<rect x='{x}' y='{y - 7}' width='9' height='9' fill='{colour}'/>"
        f"<text class='tick' x='{x + 13}' y='{y + 1}'>{text(name)}</text>"
    )
