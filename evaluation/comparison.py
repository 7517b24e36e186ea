"""Comparing two summaries of the same cases: label by label, with paired tests, and overall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.printable import listed
from evaluation.metrics.registry import metric_of
from evaluation.statistics import PairedTest, holm, paired_test
from evaluation.summary import Summary

SIGNIFICANCE = 0.05
OVERALL = "all labels"
Verdict = Literal["A", "B", "no clear difference"]
Table = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonRow:
    """One metric of one label (or of all labels: the mean over a case's labels).

    Attributes:
        mean_a, mean_b: over the cases of the test, as the protocol counts empty masks; a label that is absent
            in one and spurious in the other counts as perfect in the one (see `paired_values`).
        p_holm: the p value corrected for the number of labels; for 'all labels' it is the p value itself.
        verdict: whose values are better, where p_holm is below 0.05.
        left_out: cases of which one summary alone has a value; neither the means nor the test has them.
    """

    metric: str
    label: str
    mean_a: float | None
    mean_b: float | None
    test: PairedTest
    p_holm: float | None
    verdict: Verdict
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Model A against model B, on the labels that both have.

    Attributes:
        only_a, only_b: labels that one of them alone has; no mean and no test has them.
        renamed: pairs of names that the same label value has in A and in B, where they differ.
    """

    name_a: str
    name_b: str
    cases: tuple[str, ...]
    rows: tuple[ComparisonRow, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to be said about labels that the two do not share, in sentences."""
        sides = ((self.name_a, self.only_a), (self.name_b, self.only_b))
        notes = [
            f"Labels of {name} alone, in no mean and no test: {', '.join(labels)}."
            for name, labels in sides
            if labels
        ]
        if self.renamed:
            pairs = ", ".join(f"{one} is {other}" for one, other in self.renamed)
            notes.append(f"Labels of one value that are called otherwise in {self.name_b}: {pairs}.")
        return tuple(notes)

    def row(self, metric: str, label: str = OVERALL) -> ComparisonRow:
        """The row of a metric and a label."""
        return next(row for row in self.rows if (row.metric, row.label) == (metric, label))


def compare(
    first: Summary, second: Summary, names: tuple[str, str] = ("A", "B"), metrics: Sequence[str] | None = None
) -> Comparison:
    """Compare two evaluations of the same cases on the labels, by value, that both have.

    Args:
        metrics: metric keys (default: all that both have and in which one direction is better).

    Raises:
        EvaluationError: other cases or protocols, other units where lengths are compared, no label or no
            metric in common, or a metric that one of them lacks.
    """
    _require_alike(first, second, names)
    alone = [
        tuple(name for name, value in one.labels.items() if value not in other.labels.values())
        for one, other in ((first, second), (second, first))
    ]
    first, second = alike(first, second)
    rows = [row for key in _keys(first, second, metrics) for row in _compare_metric(first, second, key)]
    name_of = {value: name for name, value in second.labels.items()}
    renamed = [(name, name_of[value]) for name, value in first.labels.items() if name_of[value] != name]
    return Comparison(
        name_a=names[0],
        name_b=names[1],
        cases=first.cases,
        rows=tuple(rows),
        only_a=alone[0],
        only_b=alone[1],
        renamed=tuple(renamed),
    )


def _keys(first: Summary, second: Summary, wanted: Sequence[str] | None) -> list[str]:
    """The metrics to compare: those wanted, or all that both have and in which one direction is better."""
    shared = [key for key in _shared_metrics(first, second) if metric_of(key).better != "zero"]
    unknown = [key for key in wanted or () if key not in shared]
    keys = [key for key in shared if wanted is None or key in wanted]
    if unknown or not keys:
        raise EvaluationError(
            "metrics to compare",
            found=", ".join(unknown) or "none in both",
            expected=f"any of {', '.join(shared)}",
            fix="name one of those: --metric dice",
        )
    return keys


def _shared_metrics(first: Summary, second: Summary) -> list[str]:
    return [key for key in first.metrics if key in second.metrics]


def alike(first: Summary, second: Summary) -> tuple[Summary, Summary]:
    """Both summaries without the labels, by value, that the other does not have, and the cases of the second
    in the order of the first, so that the same row of their tables is the same case."""
    shared = set(first.labels.values()) & set(second.labels.values())
    return _with_labels(first, shared), _in_order(_with_labels(second, shared), first.cases)


def _in_order(summary: Summary, cases: Sequence[str]) -> Summary:
    """The summary with its cases in the order of `cases`."""
    if summary.cases == cases:
        return summary
    place = {case: number for number, case in enumerate(cases)}
    return replace(summary, rows=tuple(sorted(summary.rows, key=lambda row: place[row.case])))


def _with_labels(summary: Summary, values: set[str]) -> Summary:
    labels = {name: value for name, value in summary.labels.items() if value in values}
    if len(labels) == len(summary.labels):
        return summary
    return replace(summary, labels=labels, rows=tuple(row for row in summary.rows if row.label in labels))


def paired_values(first: Summary, second: Summary, key: str) -> tuple[Table, Table]:
    """What each case contributes to a metric, from both summaries on one set of cases and labels.

    A label that is absent counts as perfect where the other model painted it: absent against spurious is a
    win. What else has a value in one summary alone is left out of both.

    Args:
        first, second: their cases in one order, as `alike` puts them.

    Returns:
        Two tables (cases, labels) in the order of `first`; NaN at the same places in both.
    """
    partner = {number: name for name, number in second.labels.items()}
    one = _columns(first, key, list(first.labels))
    other = _columns(second, key, [partner[number] for number in first.labels.values()])
    perfect = 1.0 if metric_of(key).better == "higher" else 0.0
    for mine, theirs in ((one, other), (other, one)):
        mine.values_cl[mine.absent_cl & np.isnan(mine.values_cl) & ~np.isnan(theirs.values_cl)] = perfect
    both = ~(np.isnan(one.values_cl) | np.isnan(other.values_cl))
    return np.where(both, one.values_cl, np.nan), np.where(both, other.values_cl, np.nan)


def case_values(table_cl: Table) -> npt.NDArray[np.float64]:
    """The mean over the labels of each case; NaN for a case without any value."""
    there = ~np.isnan(table_cl)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(there, table_cl, 0.0).sum(axis=1) / there.sum(axis=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """What counts of a metric (cases, labels), NaN where nothing does; where the label is in neither mask."""

    values_cl: Table
    absent_cl: npt.NDArray[np.bool_]


def _columns(summary: Summary, key: str, labels: Sequence[str]) -> _Columns:
    status = {(row.case, row.label): row.status for row in summary.rows}
    values = [[np.nan if value is None else value for value in summary.counted(key, name)] for name in labels]
    absent = [[status[case, name] == "absent" for name in labels] for case in summary.cases]
    return _Columns(
        values_cl=np.array(values, dtype=np.float64).T, absent_cl=np.array(absent, dtype=np.bool_)
    )


def _compare_metric(first: Summary, second: Summary, key: str) -> list[ComparisonRow]:
    higher = metric_of(key).better == "higher"
    tables = paired_values(first, second, key)
    left_out = _left_out(first, second, key, tables[0])
    values = [(case_values(tables[0]), case_values(tables[1]))]
    values += [(tables[0][:, number], tables[1][:, number]) for number in range(len(first.labels))]
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
            left_out=missing,
        )
        for label, (one, other), test, p_holm, missing in zip(
            (OVERALL, *first.labels), values, tests, corrected, left_out, strict=True
        )
    ]


def _left_out(first: Summary, second: Summary, key: str, paired_cl: Table) -> list[int]:
    """In how many cases a value of one summary has no partner: over all labels together, then for each."""
    partner = {number: name for name, number in second.labels.items()}
    one = _columns(first, key, list(first.labels)).values_cl
    other = _columns(second, key, [partner[number] for number in first.labels.values()]).values_cl
    lost = (~np.isnan(one) | ~np.isnan(other)) & np.isnan(paired_cl)
    return [int(lost.any(axis=1).sum()), *map(int, lost.sum(axis=0))]


def _verdict(test: PairedTest, p_holm: float | None, higher_is_better: bool) -> Verdict:
    if p_holm is None or p_holm >= SIGNIFICANCE or not test.effect:
        return "no clear difference"
    return "A" if (test.effect > 0) == higher_is_better else "B"


def _require_alike(first: Summary, second: Summary, names: tuple[str, str]) -> None:
    different = sorted(set(first.cases) ^ set(second.cases))
    lengths = any(metric_of(key).rests_on_lengths for key in _shared_metrics(first, second))
    wrong = ""
    if different:
        wrong = f"cases in one of them alone: {listed(different, 5)}"
    elif not set(first.labels.values()) & set(second.labels.values()):
        wrong = f"labels {', '.join(first.labels)} against {', '.join(second.labels)}"
    elif first.options.protocol != second.options.protocol or (lengths and first.unit != second.unit):
        wrong = (
            f"protocol {first.options.protocol}, {first.unit} against {second.options.protocol}, "
            f"{second.unit}"
        )
    if wrong:
        raise EvaluationError(
            f"{names[0]} and {names[1]}",
            found=wrong,
            expected="the same cases, protocol and unit, and labels that both have",
            fix="evaluate both alike (balrsam evaluate --cases … --labels … --protocol …), then compare",
        )


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else None
