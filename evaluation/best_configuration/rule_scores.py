"""Dice and HD95 of many cases under many sets of postprocessing rules; each file is read once per call.

Suffixes: `_cl` (cases, labels), NaN where prediction and reference are both empty.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.inference.postprocessing import (
    Postprocessing,
    PostprocessingStep,
    SizeUnit,
    apply_postprocessing,
    size_unit,
    voxel_size,
)
from evaluation.metrics.options import EvaluationOptions
from evaluation.metrics.score_case import LabelArray, LabelScore, score_pair
from evaluation.pairs import LabelPair, Pair, read_pair

Rules = tuple[PostprocessingStep, ...]
Table = npt.NDArray[np.float64]
Pairs = Mapping[str, tuple[Path, Path]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleScores:
    """Scores of all cases under one set of rules; HD95 of a missed or spurious label is the diagonal."""

    dice_cl: Table
    hd95_cl: Table

    def of(self, cases: npt.NDArray[np.intp]) -> RuleScores:
        """Those of some cases, by position."""
        return RuleScores(dice_cl=self.dice_cl[cases], hd95_cl=self.hd95_cl[cases])


@dataclass(slots=True, kw_only=True)
class ScoreBoard:
    """The scores of one candidate's predictions under every set of rules that was asked for so far.

    Attributes:
        pairs: case -> (prediction, reference).
        distances: whether HD95 is measured; without, it is NaN.
        by_index: as that of a `Pair`.
        reference_sizes_cl: size of each label in each reference, in `size_unit`; there after the first
            `score`.
        size_unit, distance_unit: mm³, mm², pixels, or the share of pictures that differ in size; mm or px.
    """

    pairs: Pairs
    labels: LabelScheme
    workers: int
    distances: bool = True
    by_index: bool = False
    reference_sizes_cl: Table = field(default_factory=lambda: np.empty((0, 0)))
    size_unit: SizeUnit = "mm3"
    distance_unit: str = "mm"
    known: dict[Rules, RuleScores] = field(default_factory=dict)

    @property
    def cases(self) -> tuple[str, ...]:
        """In the order of every table."""
        return tuple(sorted(self.pairs))

    def score(self, rule_sets: Iterable[Rules]) -> dict[Rules, RuleScores]:
        """Scores of all cases under each set of rules; an empty one scores the predictions unchanged.

        Raises:
            DatasetError: a file cannot be read.
            EvaluationError: prediction and reference differ in geometry.
        """
        wanted = tuple(dict.fromkeys(rule_sets))
        new = tuple(rules for rules in wanted if rules not in self.known)
        if new:
            self._add(new)
        return {rules: self.known[rules] for rules in wanted}

    def _add(self, rule_sets: Sequence[Rules]) -> None:
        tasks = {
            case: _Task(
                Pair(case=case, prediction=prediction, reference=reference, by_index=self.by_index),
                self.labels,
                rule_sets,
                self.distances,
            )
            for case, (prediction, reference) in self.pairs.items()
        }
        found: dict[str, _Scored] = {}
        with local_executor(min(self.workers, len(tasks))) as executor:
            for outcome in run_cases(_score, tasks, executor, self.workers, EvaluationError):
                if outcome.error is not None:
                    raise outcome.error
                if outcome.value is not None:
                    found[outcome.case] = outcome.value
        cases = [found[case] for case in self.cases]
        self.reference_sizes_cl = np.stack([case.reference_sizes for case in cases])
        self.size_unit, self.distance_unit = cases[0].size_unit, cases[0].distance_unit
        voxels = np.array([case.voxels for case in cases])
        if {case.size_unit for case in cases} == {"pixels"} and len(set(voxels)) > 1:
            self.size_unit = "share"
            self.reference_sizes_cl = self.reference_sizes_cl / voxels[:, None]
        for number, rules in enumerate(rule_sets):
            self.known[rules] = RuleScores(
                dice_cl=np.stack([case.dice_rl[number] for case in cases]),
                hd95_cl=np.stack([case.hd95_rl[number] for case in cases]),
            )


@dataclass(frozen=True, slots=True)
class _Task:
    pair: Pair
    labels: LabelScheme
    rule_sets: Sequence[Rules]
    distances: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """One case; `_rl`: (rule sets, labels)."""

    dice_rl: Table
    hd95_rl: Table
    reference_sizes: Table
    voxels: int
    size_unit: SizeUnit
    distance_unit: str


def _score(task: _Task) -> _Scored:
    pair, labels = read_pair(task.pair, task.labels), task.labels
    options = EvaluationOptions(metrics=("overlap", "surface") if task.distances else ("overlap",))
    cleaned: dict[Rules, LabelArray] = {(): pair.prediction_zyx}
    before = {score.label: score for score in _score_labels(pair, pair.prediction_zyx, labels, options)}
    rows = []
    for rules in task.rule_sets:
        label_zyx = _clean(rules, cleaned, pair, labels)
        differs = label_zyx != pair.prediction_zyx
        changed = np.union1d(pair.prediction_zyx[differs], label_zyx[differs])
        scores = dict(before)
        if len(changed):
            touched = _only(labels, set(changed.tolist()))
            scores |= {score.label: score for score in _score_labels(pair, label_zyx, touched, options)}
        rows.append([scores[name] for name in labels.names])
    sizes = [before[name].counts.referenced * voxel_size(pair.geometry) for name in labels.names]
    return _Scored(
        dice_rl=np.array([[_number(score.values["dice"]) for score in row] for row in rows]),
        hd95_rl=np.array([[_distance(score) for score in row] for row in rows]),
        reference_sizes=np.array(sizes),
        voxels=pair.reference_zyx.size,
        size_unit=size_unit(pair.geometry),
        distance_unit=pair.unit,
    )


def _clean(
    rules: Rules, cleaned: dict[Rules, LabelArray], pair: LabelPair, labels: LabelScheme
) -> LabelArray:
    """The prediction after the rules; what many sets begin with is applied once and kept in `cleaned`."""
    if not rules:
        return pair.prediction_zyx
    start = rules[:-1]
    if start not in cleaned:
        cleaned[start] = _clean(start, cleaned, pair, labels)
    last = Postprocessing(steps=rules[-1:])
    return apply_postprocessing(cleaned[start], pair.geometry, labels, last)


def _only(labels: LabelScheme, values: set[int]) -> LabelScheme:
    """The labels and regions that cover any of the values."""
    kept = [number for number, covered in enumerate(labels.values) if values & set(covered)]
    return dataclasses.replace(
        labels,
        names=tuple(labels.names[number] for number in kept),
        values=tuple(labels.values[number] for number in kept),
    )


def _score_labels(
    pair: LabelPair, label_zyx: LabelArray, labels: LabelScheme, options: EvaluationOptions
) -> tuple[LabelScore, ...]:
    return score_pair("", label_zyx, pair.reference_zyx, pair.spacing_mm, labels, options)


def _distance(score: LabelScore) -> float:
    """HD95 as the default protocol counts it."""
    return score.diagonal if score.status in ("missed", "spurious") else _number(score.values.get("hd95"))


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
