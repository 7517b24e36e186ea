"""nnU-Net's own summary.json as a summary, so that a model can be compared with one that nnU-Net scored
(voxel overlap only)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from balrsam_pipeline.imageio import file_ending_of
from evaluation.metrics.options import EvaluationOptions
from evaluation.metrics.registry import keys_of
from evaluation.metrics.score_case import Counts, LabelScore, overlap_metrics
from evaluation.summary import PairPaths, Summary, label_key


def from_nnunet(value: dict[str, Any]) -> Summary:
    """A summary from the JSON value of nnU-Net's summary.json; labels go by their keys ('1'), written as ours
    are.

    Raises:
        KeyError, TypeError: the value does not have nnU-Net's layout.
    """
    options = EvaluationOptions(metrics=("overlap",))
    keys = {_our_key(key): key for key in value["mean"]}
    rows, files = [], {}
    for entry in sorted(value["metric_per_case"], key=_case_of):
        case = _case_of(entry)
        files[case] = PairPaths(prediction=entry["prediction_file"], reference=entry["reference_file"])
        rows += [_row(case, label, entry["metrics"][key], options) for label, key in keys.items()]
    labels = {label: label for label in keys}
    return Summary(labels=labels, rows=tuple(rows), options=options, unit="mm", files=files)


def _our_key(key: str) -> str:
    """The key that a region has here: its values ascending, one alone without brackets.

    Example:
        >>> _our_key("(3, 1)"), _our_key("(3,)"), _our_key("2")
        ('(1, 3)', '3', '2')
    """
    if not key.startswith("("):
        return key
    return label_key(sorted(int(value) for value in key.strip("()").split(",") if value.strip()))


def _case_of(entry: dict[str, Any]) -> str:
    name = Path(entry["reference_file"])
    return name.name[: -len(file_ending_of(name))]


def _row(case: str, label: str, numbers: dict[str, Any], options: EvaluationOptions) -> LabelScore:
    counts = Counts(
        true_positives=_whole(numbers["TP"]),
        false_positives=_whole(numbers["FP"]),
        false_negatives=_whole(numbers["FN"]),
        true_negatives=_whole(numbers["TN"]),
    )
    values = overlap_metrics(counts)
    return LabelScore(
        case=case,
        label=label,
        status=counts.status,
        counts=counts,
        values={key: values[key] for key in keys_of(options.metrics, ())},
        diagonal=0.0,
        voxel_mm3=None,
    )


def _whole(number: float) -> int:
    return int(number) if math.isfinite(number) else 0
