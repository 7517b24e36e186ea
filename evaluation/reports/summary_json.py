"""summary.json: a superset of nnU-Net's layout, so that its tools read it, and complete enough to be read
back.

nnU-Net's part: `foreground_mean`, `mean` (by label key) and `metric_per_case`; where it writes NaN, we
write null.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from balrsam_pipeline import __version__
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.layout import SUMMARY
from balrsam_pipeline.pooled import OURS
from balrsam_pipeline.serialise import from_json, to_json
from evaluation.metrics.lesions import Detection
from evaluation.metrics.options import EvaluationOptions
from evaluation.metrics.registry import keys_of, metric_of
from evaluation.metrics.score_case import Counts, LabelScore
from evaluation.reports.nnunet_summary import from_nnunet
from evaluation.reports.strata import Strata, by_stratum
from evaluation.summary import PairPaths, Summary, counted_metric, lesions_of, status_counts

SCHEMA_VERSION = 1
_COUNTS = {"TP": "true_positives", "FP": "false_positives", "FN": "false_negatives", "TN": "true_negatives"}


def write_summary(summary: Summary, path: Path, strata: Strata | None = None) -> None:
    """Write `summary` to `path` as JSON, atomically; with `strata`, also the means of each group of cases."""
    write_json(path, _content(summary, strata))


def _content(summary: Summary, strata: Strata | None) -> dict[str, Any]:
    means = {key: _mean_of_label(summary, label) for label, key in summary.labels.items()}
    titles = list(next(iter(means.values()), {}))
    counts = {title: _plain_mean([mean[title] for mean in means.values()]) for title in titles}
    return {
        "foreground_mean": counts
        | {metric_of(key).title: value for key, value in summary.foreground_mean.items()},
        "mean": means,
        "metric_per_case": _cases(summary),
        OURS: {
            "schema_version": SCHEMA_VERSION,
            "version": __version__,
            "protocol": {
                "name": summary.options.protocol,
                "id": summary.options.rules.identifier,
                "text": summary.options.rules.text,
            },
            "options": {
                name: value for name, value in to_json(summary.options).items() if name != "workers"
            },  # changes no score
            "unit": summary.unit,
            "definitions": {
                metric_of(key).title: {"id": metric.definition, "text": metric.text}
                for key in summary.metrics
                for metric in [counted_metric(key, summary.options.rules)]
            },
            "labels": summary.labels,
            "status_counts": {
                label: status_counts([row for row in summary.rows if row.label == label])
                for label in summary.labels
            },
            "statistics": {
                label: {metric_of(key).title: to_json(value) for key, value in aggregates.items()}
                for label, aggregates in summary.per_label.items()
            },
            "foreground_interval": {
                metric_of(key).title: value for key, value in summary.foreground_interval.items()
            },
            "lesions": {
                label: to_json(lesions_of(summary, label))
                for label in summary.labels
                if "detection" in summary.options.metrics
            },
            "groups": summary.groups,
            "strata": _strata_to_json(summary, strata) if strata else {},
            "warnings": list(summary.warnings),
        },
    }


def is_our_summary(path: Path) -> bool:
    """Whether a file is a summary that `write_summary` wrote; nnU-Net's has the same name."""
    try:
        value = read_json(path, EvaluationError)
    except EvaluationError:
        return False
    return isinstance(value, dict) and OURS in value


def read_summary(path: Path) -> Summary:
    """Read a summary.json that `write_summary` or nnU-Net wrote (of the latter, the overlap metrics).

    Args:
        path: the file, or the folder that holds it.

    Raises:
        EvaluationError: it is missing, malformed, or of a newer version.

    >>> import json
    >>> from tempfile import TemporaryDirectory
    >>> numbers = {"Dice": 0.5, "IoU": 1 / 3, "TP": 10, "FP": 10, "FN": 10, "TN": 70}
    >>> files = {"reference_file": "truth/a.nii.gz", "prediction_file": "predicted/a.nii.gz"}
    >>> nnunets = {"mean": {"1": numbers}, "metric_per_case": [files | {"metrics": {"1": numbers}}]}
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "summary.json").write_text(json.dumps(nnunets))
    ...     summary = read_summary(Path(folder))
    >>> summary.cases, summary.foreground_mean["dice"], summary.per_label["1"]["recall"].mean
    (('a',), 0.5, 0.5)
    """
    path = path / SUMMARY if path.is_dir() else path
    value = read_json(path, EvaluationError)
    try:
        return _read(value, path) if OURS in value else from_nnunet(value)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError, OverflowError) as problem:
        raise EvaluationError(
            path,
            found=f"not as written: {type(problem).__name__}: {problem}",
            expected="a summary.json of this tool or of nnU-Net",
            fix="evaluate again",
        ) from None


def _read(value: Any, path: Path) -> Summary:
    ours = value[OURS]
    if ours["schema_version"] > SCHEMA_VERSION:
        raise EvaluationError(
            path,
            found=f"schema version {ours['schema_version']}",
            expected=f"{SCHEMA_VERSION} or older",
            fix="update the tool, or evaluate again with this version",
        )
    options = from_json(EvaluationOptions, ours["options"], path, EvaluationError)
    labels: dict[str, str] = ours["labels"]
    keys = keys_of(options.metrics, options.tolerances_mm)
    rows, files = [], {}
    for entry in value["metric_per_case"]:
        files[entry["case"]] = PairPaths(
            prediction=entry["prediction_file"], reference=entry["reference_file"]
        )
        for label, key in labels.items():
            row = _row(entry["case"], label, entry["metrics"][key], keys)
            rows.append(replace(row, voxel_mm3=None) if ours["unit"] == "px" else row)  # 1.0 in older ones
    return Summary(
        labels=labels,
        rows=tuple(rows),
        options=options,
        unit=ours["unit"],
        files=files,
        groups=ours["groups"],
        warnings=tuple(ours["warnings"]),
    )


def _row(case: str, label: str, numbers: dict[str, Any], keys: Sequence[str]) -> LabelScore:
    counts = Counts(**{name: numbers[title] for title, name in _COUNTS.items()})
    return LabelScore(
        case=case,
        label=label,
        status=counts.status,
        counts=counts,
        values={key: numbers[metric_of(key).title] for key in keys},
        diagonal=numbers["diagonal"],
        voxel_mm3=numbers["voxel_mm3"],
        detection=from_json(Detection, numbers["detection"], case, EvaluationError)
        if "detection" in numbers
        else None,
    )


def _strata_to_json(summary: Summary, strata: Strata) -> dict[str, Any]:
    groups = {
        name: {
            "cases": len(part.cases),
            "foreground_mean": {metric_of(key).title: value for key, value in part.foreground_mean.items()},
            "foreground_interval": {
                metric_of(key).title: value for key, value in part.foreground_interval.items()
            },
        }
        for name, part in by_stratum(summary, strata).items()
    }
    return {"column": strata.name, "groups": groups}


class _Case:
    """The entry of one case, made when it is written."""

    def __init__(self, summary: Summary, case: str) -> None:
        self._summary, self._case = summary, case
        self.rows: list[LabelScore] = []

    def to_json(self) -> dict[str, Any]:
        files, labels = self._summary.files[self._case], self._summary.labels
        return {
            "case": self._case,
            "reference_file": files.reference,
            "prediction_file": files.prediction,
            "metrics": {labels[row.label]: _row_to_json(row) for row in self.rows},
        }


def _cases(summary: Summary) -> list[_Case]:
    found: dict[str, _Case] = {}
    for row in summary.rows:
        if row.case not in found:
            found[row.case] = _Case(summary, row.case)
        found[row.case].rows.append(row)
    return list(found.values())


def _row_to_json(row: LabelScore) -> dict[str, Any]:
    counts = row.counts
    return (
        {title: getattr(counts, name) for title, name in _COUNTS.items()}
        | {"n_pred": counts.predicted, "n_ref": counts.referenced}
        | {metric_of(key).title: value for key, value in row.values.items()}
        | {"status": row.status, "diagonal": row.diagonal, "voxel_mm3": row.voxel_mm3}
        | ({"detection": to_json(row.detection)} if row.detection else {})
    )


def _mean_of_label(summary: Summary, label: str) -> dict[str, float | None]:
    rows = [row.counts for row in summary.rows if row.label == label]
    counts: dict[str, float | None] = {
        title: sum(getattr(row, name) for row in rows) / len(rows) for title, name in _COUNTS.items()
    }
    counts |= {
        "n_pred": sum(row.predicted for row in rows) / len(rows),
        "n_ref": sum(row.referenced for row in rows) / len(rows),
    }
    return counts | {metric_of(key).title: value.mean for key, value in summary.per_label[label].items()}


def _plain_mean(values: list[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return sum(there) / len(there) if there else None
