"""Statistics of scores: bootstrap intervals of means, paired tests, correction for many tests. Seeded, so
that they repeat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 2000
SEED = 20250924
CONFIDENCE = 0.95
MOST_WEIGHTS = 2**22  # resamples times cases that are held at once: 32 MiB, and as much while they are drawn
FEWEST_CASES = 3  # below, an interval would say more about the method than about the model

Values = npt.NDArray[np.float64]
Interval = tuple[float, float]
Intervals = tuple[list[Interval | None], Interval | None]  # of every label, and of the mean over labels


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedTest:
    """A comparison of two models on the same cases.

    Attributes:
        pairs: cases with a value from both.
        first_wins, second_wins, ties: cases by who has the better value.
        difference: mean of first - second.
        interval: its 95 % bootstrap interval; None for few cases.
        p_value: of the two-sided Wilcoxon signed-rank test; None where there is no pair, 1 where all pairs
            tie.
        effect: matched-pairs rank-biserial correlation, from -1 to 1; positive where first is the larger.
    """

    pairs: int
    first_wins: int
    second_wins: int
    ties: int
    difference: float | None
    interval: Interval | None
    p_value: float | None
    effect: float | None


def bootstrap_means(values_cl: Values) -> Intervals:
    """95 % intervals of the mean of each column over cases, and of the mean of those means, from resampled
    cases.

    Args:
        values_cl: (cases, labels); NaN where a case has no value.

    Returns:
        One interval per column, and that of the mean over columns; None where fewer than three cases have a
        value.
    """
    return bootstrap_tables({"": values_cl})[""]


def bootstrap_tables(tables: Mapping[str, Values]) -> dict[str, Intervals]:
    """The same of several tables of the same cases, which are resampled once for all of them."""
    cases = len(next(iter(tables.values()), ()))
    if cases < FEWEST_CASES:
        return {key: ([None] * values_cl.shape[1], None) for key, values_cl in tables.items()}
    there = {key: ~np.isnan(values_cl) for key, values_cl in tables.items()}
    filled = {key: np.where(there[key], values_cl, 0.0) for key, values_cl in tables.items()}
    means: dict[str, list[Values]] = {key: [] for key in tables}
    for weights in _resamples(cases):
        for key in tables:
            with np.errstate(invalid="ignore"):  # NaN where a resample drew no case with a value
                means[key].append((weights @ filled[key]) / (weights @ there[key]))
    return {key: _intervals(np.concatenate(means[key]), there[key]) for key in tables}


def _resamples(cases: int) -> Iterator[Values]:
    """How often each case is drawn, (resamples, cases), `RESAMPLES` in all: a few at a time where there are
    many cases, which draws the same."""
    random, at_once = np.random.default_rng(SEED), max(1, min(RESAMPLES, MOST_WEIGHTS // cases))
    for first in range(0, RESAMPLES, at_once):
        size = min(at_once, RESAMPLES - first)
        yield random.multinomial(cases, np.full(cases, 1 / cases), size=size).astype(np.float64)


def _intervals(means: Values, there: npt.NDArray[np.bool_]) -> Intervals:
    """Intervals from the means (resamples, labels) of resampled cases; `there` (cases, labels) has a
    value."""
    intervals = [
        _interval(means[:, column]) if there[:, column].sum() >= FEWEST_CASES else None
        for column in range(there.shape[1])
    ]
    usable = there.any(axis=0)
    if not usable.any():
        return intervals, None
    counted = ~np.isnan(means[:, usable])
    overall = np.where(counted, means[:, usable], 0.0).sum(axis=1) / np.maximum(counted.sum(axis=1), 1)
    return intervals, _interval(overall[counted.any(axis=1)]) if there.any(
        axis=1
    ).sum() >= FEWEST_CASES else None


def paired_test(first: Values, second: Values, higher_is_better: bool) -> PairedTest:
    """Compare two models' values (cases,), NaN where a case has none; cases without both are left out."""
    from scipy.stats import wilcoxon  # here, because it takes half a second to import

    both = ~(np.isnan(first) | np.isnan(second))
    differences = np.round(first[both] - second[both], 12)  # so that the same number computed twice ties
    pairs, higher, lower = len(differences), int((differences > 0).sum()), int((differences < 0).sum())
    if pairs == 0:
        return PairedTest(
            pairs=0,
            first_wins=0,
            second_wins=0,
            ties=0,
            difference=None,
            interval=None,
            p_value=None,
            effect=None,
        )
    untied = differences[differences != 0]
    return PairedTest(
        pairs=pairs,
        first_wins=higher if higher_is_better else lower,
        second_wins=lower if higher_is_better else higher,
        ties=pairs - higher - lower,
        difference=float(differences.mean()),
        interval=bootstrap_means(differences[:, None])[0][0],
        p_value=float(wilcoxon(untied).pvalue) if len(untied) else 1.0,
        effect=_rank_biserial(untied) if len(untied) else 0.0,
    )


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction of p values tested together; None stays None and does not count.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    tested = [(p_value, index) for index, p_value in enumerate(p_values) if p_value is not None]
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p_value, index) in enumerate(sorted(tested)):
        largest = max(largest, min(1.0, p_value * (len(tested) - rank)))
        adjusted[index] = largest
    return adjusted


def _interval(means: Values) -> Interval:
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(means, [tail, 100 - tail])
    return float(low), float(high)


def _rank_biserial(untied: Values) -> float:
    """(rank sum of positive - of negative differences) / total rank sum. Source: Kerby 2014."""
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(untied))
    return float((ranks[untied > 0].sum() - ranks[untied < 0].sum()) / ranks.sum())
