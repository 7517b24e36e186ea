"""The horizontal axis of a drawing: from where to where, its ticks, and what lies beyond its ends.

A single case far from all others must not squash the rest into a few pixels: such values are drawn as arrows
at the axis' end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from balrsam_pipeline.printable import plural
from evaluation.reports.html.markup import number, text

TOP, LEFT, WIDTH, RIGHT = 26, 210, 1100, 70  # pixels of the drawing
BOTTOM = 34  # pixels below the last row
FEWEST_FOR_BOX = 5
FAR_OUT = 3.0  # interquartile ranges beyond a quartile: Tukey's outer fences
SQUASHED = 2.0  # times as long an axis as what lies within the fences needs: then it ends at the fences


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places across the drawing."""

    low: float
    high: float

    def x(self, value: float) -> float:
        """Pixels from the left; values beyond the ends stay at the ends."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low or 1.0)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def is_beyond(self, value: float) -> bool:
        """Whether the value lies outside the axis."""
        return not self.low <= value <= self.high


def scale_of(rows: Sequence[Sequence[float]], distance: bool) -> Scale:
    """The axis for rows of values, of which some is there.

    Args:
        rows: the values of each row; short ones are looked at together.
        distance: values from 0 upwards, instead of a metric up to 1.
    """
    numbers = [value for row in rows for value in row]
    if all(len(row) < FEWEST_FOR_BOX for row in rows):
        rows = [numbers]
    fences = [_within_fences(row) for row in rows if row]
    low, high = min(fence[0] for fence in fences), max(fence[1] for fence in fences)
    if distance:
        high = max(value for value in (*numbers, high) if value <= SQUASHED * high)
        return Scale(0.0, high * 1.05 or max(numbers) * 1.05 or 1.0)
    high = max(high, 1.0)
    length = SQUASHED * (high - low)
    low, high = (
        min(value for value in (*numbers, low) if high - value <= length or value >= low),
        max(value for value in (*numbers, high) if value - low <= length or value <= high),
    )
    return Scale(
        max(np.floor(low * 10 - 0.2) / 10, 0.0) if low >= 0 else float(np.floor(low * 10) / 10), high
    )


def _within_fences(values: Sequence[float]) -> tuple[float, float]:
    """The smallest and largest of the values that are not far out; of few values of all."""
    if len(values) < FEWEST_FOR_BOX:
        return min(values), max(values)
    first, third = np.percentile(values, [25, 75])
    reach = FAR_OUT * (third - first)
    inner = [value for value in values if first - reach <= value <= third + reach]
    return float(min(inner)), float(max(inner))


def axis(scale: Scale, height: float, title: str, rows: Sequence[Sequence[float]] = ()) -> str:
    """Grid lines, ticks above and below, and the title, which says how many values lie beyond."""
    step = _step(scale.high - scale.low)
    ticks = 0.0 + np.arange(np.ceil(scale.low / step - 1e-9) * step, scale.high + step * 1e-6, step)
    digits = max(0, int(np.ceil(-np.log10(step) - 1e-9)))
    bottom = height - BOTTOM
    lines = "".join(
        f"<line class='grid' x1='{scale.x(tick):.1f}' x2='{scale.x(tick):.1f}' y1='{TOP - 4}' y2='{bottom}'/>"
        f"<text class='tick' x='{scale.x(tick):.1f}' y='{TOP - 10}' "
        f"text-anchor='middle'>{tick + 0.0:.{digits}f}</text>"
        f"<text class='tick' x='{scale.x(tick):.1f}' y='{bottom + 14}' "
        f"text-anchor='middle'>{tick + 0.0:.{digits}f}</text>"
        for tick in ticks
    )
    beyond = sum(scale.is_beyond(value) for row in rows for value in row)
    more = f"; {plural(beyond, 'value')} beyond the axis, as arrows" if beyond else ""
    return (
        lines + f"<text class='tick' x='{(LEFT + WIDTH - RIGHT) / 2}' y='{height - 4}' "
        f"text-anchor='middle'>{text(title + more)}</text>"
    )


def arrow(scale: Scale, value: float, y: float, name: str, kind: str = "beyond") -> str:
    """A value beyond the axis: an arrow at its end that says which."""
    right = value > scale.high
    x, length = (scale.x(value) + 3, 8) if right else (scale.x(value) - 3, -8)
    return (
        f"<path class='{kind}' d='M{x:.1f} {y - 5:.1f}l{length} 5l{-length} 5z'>"
        f"<title>{text(name)}: {number(value)}</title></path>"
    )


def _step(span: float) -> float:
    rough = span / 7 or 1.0
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9)))
