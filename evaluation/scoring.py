"""Scoring a folder of predictions against a folder of references."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from balrsam_pipeline.common_values import CommonValues
from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import BalrsamError, EvaluationError, first_of
from balrsam_pipeline.execution import ExecutionOptions, open_executor, run_cases
from balrsam_pipeline.printable import listed
from balrsam_pipeline.progress import track
from evaluation.metrics.options import EvaluationOptions
from evaluation.metrics.registry import keys_of, metric_of
from evaluation.metrics.score_case import LabelScore, score_pair
from evaluation.pairs import Pair, find_pairs, read_pair
from evaluation.request import resolve
from evaluation.summary import PairPaths, Summary, label_key

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    pair: Pair
    labels: LabelScheme
    options: EvaluationOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    rows: tuple[LabelScore, ...]
    unit: str
    warnings: tuple[str, ...]


def evaluate_folders(
    predictions: Path,
    references: Path,
    labels: LabelScheme,
    file_ending: str,
    options: EvaluationOptions | None = None,
    cases: Sequence[str] | None = None,
) -> Summary:
    """Score every case of two folders, matched by file name.

    Args:
        predictions: folder of label maps, CASE and an ending.
        references: the same, with the truth.
        labels: what to score.
        file_ending: such as '.nii.gz'; files of other endings of the same kind are taken too.
        options: protocol, metrics, workers (default: `EvaluationOptions()`).
        cases: which cases to score; None means all, and then both folders must hold the same cases.

    Raises:
        EvaluationError: a file is missing, or a pair does not fit together.
        DatasetError: a file cannot be read or is no label map.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from balrsam_pipeline.dataset import parse_labels
    >>> from balrsam_pipeline.imageio import picture_geometry, write_label
    >>> labels = parse_labels({"labels": {"background": 0, "lesion": 1}}, "dataset.json")
    >>> mask = np.zeros((1, 20, 20), dtype=np.uint8)
    >>> mask[0, 5:15, 5:15] = 1
    >>> with TemporaryDirectory() as name:
    ...     for case, shift in (("a", 0), ("b", 5)):
    ...         write_label(Path(name, "truth", f"{case}.png"), mask, picture_geometry(20, 20))
    ...         moved = np.roll(mask, shift, axis=2)
    ...         write_label(Path(name, "predicted", f"{case}.png"), moved, picture_geometry(20, 20))
    ...     summary = evaluate_folders(Path(name, "predicted"), Path(name, "truth"), labels, ".png")
    >>> summary.cases, summary.foreground_mean["dice"], summary.unit
    (('a', 'b'), 0.75, 'px')
    """
    options = options or EvaluationOptions()
    pairs = find_pairs(predictions, references, file_ending, cases, options.missing_as_empty)
    return evaluate_pairs(pairs, labels, options)


def evaluate(
    predictions: Path | str,
    references: Path | str,
    options: EvaluationOptions | None = None,
    dataset: Path | str | None = None,
    cases: Sequence[str] | None = None,
) -> Summary:
    """Score a folder of predictions, or one of them, as `balrsam evaluate` does.

    Args:
        predictions, references: two folders, or two files.
        dataset: a dataset.json that names the labels; None looks beside the folders, and else takes every
            value that occurs as a label.
        cases: the cases to score; None means every case of both folders.

    Raises:
        EvaluationError: files do not fit together; DatasetError: a file cannot be read.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from balrsam_pipeline.imageio import picture_geometry, write_label
    >>> mask = np.zeros((1, 20, 20), dtype=np.uint8)
    >>> mask[0, 5:15, 5:15] = 1
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("truth", "predicted"):
    ...         write_label(Path(folder, name, "a.png"), mask, picture_geometry(20, 20))
    ...     table = evaluate(f"{folder}/predicted", f"{folder}/truth").to_frame()
    >>> table[["case", "label", "dice"]].values.tolist()
    [['a', '1', 1.0]]
    """
    options = options or EvaluationOptions()
    description = Path(dataset) if dataset is not None else None
    request = resolve(Path(predictions), Path(references), description, cases, options.missing_as_empty)
    return evaluate_pairs(request.pairs, request.labels, options)


def evaluate_pairs(
    pairs: Sequence[Pair],
    labels: LabelScheme,
    options: EvaluationOptions,
    execution: ExecutionOptions | None = None,
) -> Summary:
    """Score pairs of files, all or none.

    Args:
        execution: where; None takes `options.workers` processes here.

    Raises:
        EvaluationError, DatasetError: the first problem in the order of cases; it tells how many more there
            are.
        ClusterError: the cluster cannot be used.
    """
    summary, problems = score_pairs(pairs, labels, options, execution)
    if problems:
        raise first_of(problems)
    return summary


def score_pairs(
    pairs: Sequence[Pair],
    labels: LabelScheme,
    options: EvaluationOptions,
    execution: ExecutionOptions | None = None,
) -> tuple[Summary, dict[str, BalrsamError]]:
    """Score those pairs of files that can be scored; an odd case does not end the work on the others.

    Returns:
        The summary of the cases that were scored (its warnings name the others); case -> its problem.

    Raises:
        ClusterError: the cluster cannot be used.
    """
    execution = execution or ExecutionOptions(workers=options.workers)
    tasks = {
        pair.case: _Task(pair=_seen_from_workers(pair, execution), labels=labels, options=options)
        for pair in pairs
    }
    scored: dict[str, _Scored] = {}
    common = CommonValues()
    problems: dict[str, BalrsamError] = {}
    workers = max(1, min(execution.workers, len(tasks)))
    folders = {
        path.parent
        for task in tasks.values()
        for path in (task.pair.prediction, task.pair.reference)
        if path is not None
    }
    with open_executor(replace(execution, workers=workers), sorted(folders)) as executor:
        outcomes = run_cases(_score, tasks, executor, workers, EvaluationError)
        for outcome in track(outcomes, len(tasks), "scoring"):
            if outcome.error is not None:
                problems[outcome.case] = outcome.error
            elif outcome.value is not None:
                rows = tuple(_with_common_names(row, common) for row in outcome.value.rows)
                scored[outcome.case] = replace(outcome.value, rows=rows)
    done = [pair for pair in pairs if pair.case in scored]
    unscored = [f"{case} was not scored: {problems[case].found}" for case in sorted(problems)]
    return _summarise(done, scored, labels, options, unscored), problems


def _seen_from_workers(pair: Pair, execution: ExecutionOptions) -> Pair:
    prediction = execution.shared(pair.prediction) if pair.prediction is not None else None
    return replace(pair, prediction=prediction, reference=execution.shared(pair.reference))


def _score(task: _Task) -> _Scored:
    pair = read_pair(task.pair, task.labels)
    rows = score_pair(
        task.pair.case,
        pair.prediction_zyx,
        pair.reference_zyx,
        pair.spacing_mm,
        task.labels,
        task.options,
        has_volume=pair.unit == "mm" and pair.geometry.dimension == 3,
    )
    return _Scored(rows=rows, unit=pair.unit, warnings=pair.warnings)


def _with_common_names(row: LabelScore, common: CommonValues) -> LabelScore:
    """The same with one string per name for all cases, whatever process the row came from."""
    values = {sys.intern(key): value for key, value in row.values.items()}
    return replace(common.shared(row, "label", "status"), values=values)


def _summarise(
    pairs: Sequence[Pair],
    scored: Mapping[str, _Scored],
    labels: LabelScheme,
    options: EvaluationOptions,
    unscored: Sequence[str],
) -> Summary:
    units = {result.unit for result in scored.values()}
    cases = sorted(scored)
    odd = [warning for case in cases for warning in scored[case].warnings]
    warnings = (*unscored, *_mixed_units(scored, options), *odd)
    for warning in warnings:
        LOG.warning("%s", warning)
    return Summary(
        labels={name: label_key(values) for name, values in zip(labels.names, labels.values, strict=True)},
        rows=tuple(row for case in cases for row in scored[case].rows),
        options=options,
        unit="voxels" if options.rules.unit_spacing else "mm" if "mm" in units else "px",
        files={
            pair.case: PairPaths(
                prediction=str(pair.prediction) if pair.prediction else None, reference=str(pair.reference)
            )
            for pair in pairs
        },
        warnings=warnings,
    )


def _mixed_units(scored: Mapping[str, _Scored], options: EvaluationOptions) -> list[str]:
    """A warning where means would be over lengths of different units."""
    lengths = any(metric_of(key).rests_on_lengths for key in keys_of(options.metrics, options.tolerances_mm))
    without = sorted(case for case, result in scored.items() if result.unit == "px")
    if options.rules.unit_spacing or not lengths or len(without) in (0, len(scored)):
        return []
    return [
        f"{len(without)} of {len(scored)} cases have no physical size, so that their distances are in pixels "
        f"and those of the others in mm, and means over all mix both: {listed(without)}; score the two kinds "
        "apart (--cases), or give all a spacing"
    ]
