"""The scores of many cases and what they come to: per label, and over all labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import EvaluationError
from evaluation.metrics.lesions import Detection, add, nothing
from evaluation.metrics.options import DIAGONAL, EvaluationOptions, Protocol
from evaluation.metrics.registry import Metric, metric_of
from evaluation.metrics.score_case import LabelScore
from evaluation.statistics import Interval, Intervals, bootstrap_tables

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPaths:
    """Where the two label maps of a case lie; `prediction` is None where it is missing and counts as
    empty."""

    prediction: str | None
    reference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """One metric of one label over cases.

    Attributes:
        count: how many values the numbers rest on.
        left_out: how many cases have no value (absent labels, undefined ratios).
        interval: 95 % bootstrap interval of the mean over resampled cases; None for fewer than three cases.
    """

    count: int
    left_out: int
    mean: float | None
    std: float | None
    median: float | None
    quartile_1: float | None
    quartile_3: float | None
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Scores per case and label, and their aggregates.

    Attributes:
        labels: label or region name -> the key it has in nnU-Net's summary.json ('1', or '(1, 2)' for a
            region).
        rows: one per case and label; cases ascending, labels in the order of `labels`.
        options: how they were scored.
        unit: of distances: 'mm', 'px', or 'voxels'.
        files: case -> its files.
        groups: case -> the part of a cross-validation that it belongs to; empty for a single evaluation.
        warnings: oddities that did not prevent scoring.
    """

    labels: dict[str, str]
    rows: tuple[LabelScore, ...]
    options: EvaluationOptions
    unit: str
    files: dict[str, PairPaths]
    groups: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def metrics(self) -> tuple[str, ...]:
        """Keys of the metrics that were computed."""
        return tuple(self.rows[0].values) if self.rows else ()

    @property
    def cases(self) -> tuple[str, ...]:
        """Case names, ascending."""
        return tuple(dict.fromkeys(row.case for row in self.rows))

    @cached_property
    def per_label(self) -> dict[str, dict[str, Aggregate]]:
        """Label -> metric key -> aggregate over cases."""
        return {
            label: {
                key: replace(aggregate(self.counted(key, label)), interval=self._intervals[key][0][number])
                for key in self.metrics
            }
            for number, label in enumerate(self.labels)
        }

    @cached_property
    def foreground_interval(self) -> dict[str, Interval | None]:
        """Metric key -> 95 % bootstrap interval of `foreground_mean`."""
        return {key: overall for key, (_, overall) in self._intervals.items()}

    @cached_property
    def _intervals(self) -> dict[str, Intervals]:
        return bootstrap_tables({key: self._table(key) for key in self.metrics})

    @cached_property
    def _rows_of(self) -> dict[str, list[LabelScore]]:
        rows: dict[str, list[LabelScore]] = {label: [] for label in self.labels}
        for row in self.rows:
            rows[row.label].append(row)
        return rows

    def _table(self, key: str) -> npt.NDArray[np.float64]:
        """(cases, labels), NaN where a case has no value."""
        columns = [
            [np.nan if value is None else value for value in self.counted(key, label)]
            for label in self.labels
        ]
        return np.array(columns, dtype=np.float64).T

    @cached_property
    def foreground_mean(self) -> dict[str, float | None]:
        """Metric key -> mean over labels of the mean over cases, as nnU-Net means it; labels without any
        value are left out."""
        return {
            key: _mean([self.per_label[label][key].mean for label in self.labels]) for key in self.metrics
        }

    def to_frame(self) -> pd.DataFrame:
        """The rows as a table: one row per case and label, one column per metric; NaN where undefined.

        Columns: `case`, `label`, `status`, `group` (where there are groups), the keys of `metrics`,
        `predicted_voxels`, `reference_voxels`, `predicted_ml`, `reference_ml`, `image_diagonal`.
        """
        import pandas as pd  # here, because training scores every fold and needs no table

        records = [
            {"case": row.case, "label": row.label, "status": row.status}
            | ({"group": self.groups[row.case]} if self.groups else {})
            | row.values
            | {
                "predicted_voxels": row.counts.predicted,
                "reference_voxels": row.counts.referenced,
                "predicted_ml": _ml(row.counts.predicted, row.voxel_mm3),
                "reference_ml": _ml(row.counts.referenced, row.voxel_mm3),
                "image_diagonal": row.diagonal,
            }
            for row in self.rows
        ]
        return pd.DataFrame(records).astype(dict.fromkeys(self.metrics, "float64"))

    @property
    def per_case(self) -> pd.DataFrame:
        """One row per case (the index), one column per metric: the mean over the labels that count in it.

        NaN where none counts; `to_frame` has the labels apart, as they were measured.
        """
        import pandas as pd

        means = {key: case_means(self, key) for key in self.metrics}
        return pd.DataFrame(means, index=pd.Index(self.cases, name="case"), dtype="float64")

    def counted(self, key: str, label: str) -> list[float | None]:
        """What each case contributes to means of a metric of a label, in the order of cases; None where it is
        left out."""
        metric = metric_of(key)
        return [counted_value(row, metric, self.options.rules) for row in self._rows_of[label]]


def counted_metric(key: str, protocol: Protocol) -> Metric:
    """The metric whose values means of `key` are of under a protocol."""
    return metric_of("hd95_pooled" if key == "hd95" and protocol.pooled_hd95 else key)


def counted_value(row: LabelScore, metric: Metric, protocol: Protocol) -> float | None:
    """What a row contributes to means of a metric under a protocol; None where it is left out."""
    if row.status == "scored" or metric.family in ("rate", "volume"):
        return row.values[counted_metric(metric.key, protocol).key]
    rule = protocol.empty(row.status)
    value = rule.overlap if metric.family == "overlap" else rule.distance
    return row.diagonal if value == DIAGONAL else value


def aggregate(values: Sequence[float | None]) -> Aggregate:
    """Mean, standard deviation (n - 1), median and quartiles of the values that are there."""
    there = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(there):
        return Aggregate(
            count=0, left_out=len(values), mean=None, std=None, median=None, quartile_1=None, quartile_3=None
        )
    low, middle, high = np.percentile(there, [25, 50, 75])
    return Aggregate(
        count=len(there),
        left_out=len(values) - len(there),
        mean=math.fsum(there) / len(there),
        std=float(there.std(ddof=1)) if len(there) > 1 else 0.0,
        median=float(middle),
        quartile_1=float(low),
        quartile_3=float(high),
    )


def label_key(values: Sequence[int]) -> str:
    """What a label or region is called in `Summary.labels`: by its values, as nnU-Net calls it.

    Example:
        >>> label_key((2,)), label_key((1, 3))
        ('2', '(1, 3)')
    """
    return str(values[0]) if len(values) == 1 else str(tuple(values))


def pool(summaries: Sequence[Summary], names: Sequence[str] | None = None) -> Summary:
    """Put the cases of several evaluations together, as for the folds of a cross-validation.

    Args:
        summaries: of different cases, scored alike.
        names: what the parts are called (default: 'fold 0', 'fold 1', …).

    Raises:
        EvaluationError: there is nothing to pool, a case occurs twice, or the parts were scored differently.

    >>> from evaluation.metrics.score_case import Counts
    >>> def scored(case, hits):
    ...     counts = Counts(
    ...         true_positives=hits, false_positives=10 - hits, false_negatives=10 - hits, true_negatives=0
    ...     )
    ...     row = LabelScore(
    ...         case=case, label="lesion", status="scored", counts=counts, values={"dice": hits / 10},
    ...         diagonal=9.0, voxel_mm3=1.0,
    ...     )
    ...     return Summary(
    ...         labels={"lesion": "1"}, rows=(row,), options=EvaluationOptions(metrics=("overlap",)),
    ...         unit="mm", files={case: PairPaths(prediction=f"{case}.nii.gz", reference=f"{case}.nii.gz")},
    ...     )
    >>> both = pool([scored("a", 8), scored("b", 6)])
    >>> both.cases, both.foreground_mean["dice"], both.groups["b"]
    (('a', 'b'), 0.7, 'fold 1')
    >>> both.to_frame()[["case", "label", "group", "dice", "reference_voxels"]]
      case   label   group  dice  reference_voxels
    0    a  lesion  fold 0   0.8                10
    1    b  lesion  fold 1   0.6                10
    >>> both.per_case.loc["a", "dice"]
    np.float64(0.8)
    """
    if not summaries:
        raise EvaluationError(
            "pooled summaries", found="none", expected="one or more", fix="evaluate the folds first"
        )
    names = names or [f"fold {number}" for number in range(len(summaries))]
    groups = _parts(summaries, names)
    first = summaries[0]
    order = {label: number for number, label in enumerate(first.labels)}
    rows = sorted(
        (row for summary in summaries for row in summary.rows), key=lambda row: (row.case, order[row.label])
    )
    files: dict[str, PairPaths] = {
        case: summary.files[case] for summary in summaries for case in summary.files
    }
    warnings = tuple(warning for summary in summaries for warning in summary.warnings)
    return replace(first, rows=tuple(rows), files=files, groups=groups, warnings=warnings)


def _parts(summaries: Sequence[Summary], names: Sequence[str]) -> dict[str, str]:
    """Case -> the part that it is in, after the check that all were scored alike and no case is in two."""

    def how(summary: Summary) -> tuple[object, ...]:
        return summary.labels, summary.metrics, summary.unit, summary.options.protocol

    groups: dict[str, str] = {}
    for name, summary in zip(names, summaries, strict=True):
        if how(summary) != how(summaries[0]):
            raise EvaluationError(
                name,
                found="other labels, metrics, units or protocol than the first part",
                expected="parts scored alike",
                fix="evaluate it again",
            )
        twice = sorted(set(groups) & set(summary.cases))
        if twice:
            raise EvaluationError(
                name,
                found=f"case {twice[0]} in two parts",
                expected="every case in one part",
                fix="check the folds",
            )
        groups |= dict.fromkeys(summary.cases, name)
    return groups


def case_means(summary: Summary, key: str) -> dict[str, float]:
    """Case -> its mean over labels of what counts of a metric; cases of which nothing counts are left out."""
    columns = [summary.counted(key, label) for label in summary.labels]
    means = {case: _mean([column[number] for column in columns]) for number, case in enumerate(summary.cases)}
    return {case: mean for case, mean in means.items() if mean is not None}


def lesions_of(summary: Summary, label: str) -> Detection:
    """The connected components of a label in all cases together."""
    rows = [row for row in summary.rows if row.label == label]
    none = nothing(all(row.voxel_mm3 is not None for row in rows))
    return reduce(add, [row.detection for row in rows if row.detection], none)


def status_counts(rows: Sequence[LabelScore]) -> Mapping[str, int]:
    """How many rows have each status."""
    return {
        status: sum(row.status == status for row in rows)
        for status in ("scored", "absent", "missed", "spurious")
    }


def _ml(voxels: int, voxel_mm3: float | None) -> float:
    return math.nan if voxel_mm3 is None else voxels * voxel_mm3 / 1000


def _mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return math.fsum(there) / len(there) if there else None
