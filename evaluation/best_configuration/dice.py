"""Dice of many cases under several sets of postprocessing rules at once; every file is read once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.imageio import read_label
from balrsam_pipeline.inference.postprocessing import (
    Postprocessing,
    PostprocessingStep,
    apply_postprocessing,
    voxel_size,
)

Rules = tuple[PostprocessingStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCases:
    """Dice and reference sizes of the same cases.

    Attributes:
        dice_rcl: (rule sets, cases, labels); NaN where prediction and reference are both empty.
        reference_mm3_cl: size of each label in the reference (mm² for 2D images).
    """

    dice_rcl: npt.NDArray[np.float64]
    reference_mm3_cl: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Task:
    prediction: Path
    reference: Path
    labels: LabelScheme
    rule_sets: Sequence[Rules]


def score_rules(
    pairs: Mapping[str, tuple[Path, Path]], labels: LabelScheme, rule_sets: Sequence[Rules], workers: int
) -> ScoredCases:
    """Score every case under every set of rules.

    Args:
        pairs: case -> (prediction, reference).
        rule_sets: each is applied to the prediction as it is on disk; an empty one scores it unchanged.

    Raises:
        DatasetError: a file cannot be read.
        EvaluationError: prediction and reference differ in shape.
    """
    tasks = {
        case: _Task(prediction, reference, labels, rule_sets)
        for case, (prediction, reference) in pairs.items()
    }
    found: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}
    with local_executor(min(workers, len(tasks))) as executor:
        for outcome in run_cases(_score, tasks, executor, workers, EvaluationError):
            if outcome.error is not None:
                raise outcome.error
            if outcome.value is not None:
                found[outcome.case] = outcome.value
    order = sorted(found)
    dice = np.stack([found[case][0] for case in order], axis=1)
    return ScoredCases(dice_rcl=dice, reference_mm3_cl=np.stack([found[case][1] for case in order]))


def mean_dice(dice_cl: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """Mean over labels, and each label's mean over cases; cases without a value are left out, as nnU-Net
    does."""
    there = ~np.isnan(dice_cl)
    counts = there.sum(axis=0)
    per_label = np.where(counts > 0, np.where(there, dice_cl, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    usable = counts > 0
    return (float(per_label[usable].mean()) if usable.any() else 0.0), per_label


def on_one_case_set(dice_rcl: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Dice of several predictions of the same cases, with the same cases counted for each.

    Args:
        dice_rcl: (predictions, cases, labels); NaN where prediction and reference are both empty.

    Returns:
        The same, with 1 where a prediction is rightly empty and another one painted something; NaN where all
        are empty.
    """
    painted = ~np.isnan(dice_rcl).all(axis=0)
    return np.where(np.isnan(dice_rcl) & painted, 1.0, dice_rcl)


def _score(task: _Task) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    image, reference = read_label(task.prediction), read_label(task.reference).data[0]
    prediction = image.data[0]
    if prediction.shape != reference.shape:
        raise EvaluationError(
            task.prediction,
            found=f"shape {prediction.shape} (z, y, x)",
            expected=f"{reference.shape}, as the reference",
            fix="predict the case again from the same image",
        )
    counted = (
        reference != task.labels.ignore_value
        if task.labels.ignore_value is not None
        else np.ones_like(reference, dtype=bool)
    )
    truth = [task.labels.mask(reference, name) & counted for name in task.labels.names]
    rows = []
    for rules in task.rule_sets:
        cleaned = apply_postprocessing(prediction, image.geometry, task.labels, Postprocessing(steps=rules))
        rows.append(
            [
                _dice(task.labels.mask(cleaned, name) & counted, mask)
                for name, mask in zip(task.labels.names, truth, strict=True)
            ]
        )
    return np.array(rows), np.array([mask.sum() for mask in truth]) * voxel_size(image.geometry)


def _dice(prediction: npt.NDArray[np.bool_], reference: npt.NDArray[np.bool_]) -> float:
    total = int(prediction.sum()) + int(reference.sum())
    return 2 * int((prediction & reference).sum()) / total if total else float("nan")
