"""Comparing two summaries of the same cases: label by label, with paired tests, and overall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import EvaluationError
from evaluation.metrics.registry import metric_of
from evaluation.statistics import PairedTest, holm, paired_test
from evaluation.summary import Summary

SIGNIFICANCE = 0.05
OVERALL = "all labels"
Verdict = Literal["A", "B", "no clear difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One metric of one label (or of all labels: the mean over a case's labels).

    Attributes:
        mean_a, mean_b: over cases, as each summary's protocol counts empty masks.
        p_holm: the p value corrected for the number of labels; for 'all labels' it is the p value itself.
        verdict: whose values are better, where p_holm is below 0.05.
    """

    metric: str
    label: str
    mean_a: float | None
    mean_b: float | None
    test: PairedTest
    p_holm: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Model A against model B."""

    name_a: str
    name_b: str
    cases: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]

    def row(self, metric: str, label: str = OVERALL) -> ComparisonRow:
        """The row of a metric and a label."""
        return next(row for row in self.rows if (row.metric, row.label) == (metric, label))


def compare(
    first: Summary, second: Summary, names: tuple[str, str] = ("A", "B"), metrics: Sequence[str] | None = None
) -> Comparison:
    """Compare two evaluations of the same cases and labels.

    Args:
        metrics: metric keys (default: all that both have and in which one direction is better).

    Raises:
        EvaluationError: other cases, labels, protocols or units, or no metric in common.
    """
    _require_alike(first, second, names)
    shared = [key for key in first.metrics if key in second.metrics and metric_of(key).better != "zero"]
    keys = [key for key in shared if metrics is None or key in metrics]
    if not keys:
        raise EvaluationError(
            "metrics to compare",
            found=", ".join(metrics or ()) or "none in both",
            expected=f"any of {', '.join(shared)}",
            fix="name one of those: --metric dice",
        )
    rows = [row for key in keys for row in _compare_metric(first, second, key)]
    return Comparison(name_a=names[0], name_b=names[1], cases=first.cases, rows=tuple(rows))


def values_of(summary: Summary, key: str, label: str) -> npt.NDArray[np.float64]:
    """What each case contributes to a metric of a label, or of all labels (the mean over its labels); NaN
    where nothing."""
    if label != OVERALL:
        return _as_array(summary.counted(key, label))
    table = np.stack([_as_array(summary.counted(key, name)) for name in summary.labels], axis=1)
    there = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, table, 0.0).sum(axis=1) / there.sum(axis=1))


def _compare_metric(first: Summary, second: Summary, key: str) -> list[ComparisonRow]:
    higher = metric_of(key).better == "higher"
    partner = {number: name for name, number in second.labels.items()}
    names = [(OVERALL, OVERALL), *((label, partner[number]) for label, number in first.labels.items())]
    values = [(values_of(first, key, own), values_of(second, key, other)) for own, other in names]
    tests = [paired_test(one, other, higher) for one, other in values]
    corrected = [tests[0].p_value, *holm([test.p_value for test in tests[1:]])]
    return [
        ComparisonRow(
            metric=key,
            label=label,
            mean_a=_mean(one),
            mean_b=_mean(other),
            test=test,
            p_holm=p_holm,
            verdict=_verdict(test, p_holm, higher),
        )
        for (label, _), (one, other), test, p_holm in zip(names, values, tests, corrected, strict=True)
    ]


def _verdict(test: PairedTest, p_holm: float | None, higher_is_better: bool) -> Verdict:
    if p_holm is None or p_holm >= SIGNIFICANCE or not test.effect:
        return "no clear difference"
    return "A" if (test.effect > 0) == higher_is_better else "B"


def _require_alike(first: Summary, second: Summary, names: tuple[str, str]) -> None:
    different = sorted(set(first.cases) ^ set(second.cases))
    wrong = ""
    if different:
        wrong = f"cases in one of them alone: {', '.join(different[:5])}" + (
            f" and {len(different) - 5} more" if len(different) > 5 else ""
        )
    elif set(first.labels.values()) != set(second.labels.values()):
        wrong = f"labels {', '.join(first.labels)} against {', '.join(second.labels)}"
    elif (first.options.protocol, first.unit) != (second.options.protocol, second.unit):
        wrong = (
            f"protocol {first.options.protocol}, {first.unit} against {second.options.protocol}, "
            f"{second.unit}"
        )
    if wrong:
        raise EvaluationError(
            f"{names[0]} and {names[1]}",
            found=wrong,
            expected="the same cases, labels, protocol and unit",
            fix="evaluate both alike (balrsam evaluate --cases … --labels … --protocol …), then compare",
        )


def _as_array(values: Sequence[float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None
