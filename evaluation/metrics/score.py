"""Scoring one pair of label maps: every label's counts and metrics, all empty masks told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from evaluation.definitions import nsd_key
from evaluation.metrics.distances import Mask, border, directed_distances
from evaluation.metrics.joint import Box, JointCounts, joint_counts, union
from evaluation.options import EvaluationOptions
from evaluation.protocols import Status

LabelArray = npt.NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Voxels of one label in one case, ignored voxels left out."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def predicted(self) -> int:
        """Voxels of the prediction."""
        return self.true_positives + self.false_positives

    @property
    def referenced(self) -> int:
        """Voxels of the reference."""
        return self.true_positives + self.false_negatives

    @property
    def status(self) -> Status:
        """Which of the two masks hold the label."""
        if self.predicted and self.referenced:
            return "scored"
        if self.predicted:
            return "spurious"
        return "missed" if self.referenced else "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """All about one label of one case.

    Attributes:
        values: metric key -> value; None where it is undefined (never NaN).
        diagonal: the physical diagonal of the image, in mm (or pixels, or voxels: the unit of the distances).
        voxel_mm3: volume of a voxel, to turn counts into volumes.
    """

    case: str
    label: str
    status: Status
    counts: Counts
    values: dict[str, float | None] = field(default_factory=dict)
    diagonal: float
    voxel_mm3: float


def score_pair(
    case: str,
    prediction_zyx: LabelArray,
    reference_zyx: LabelArray,
    spacing_mm: tuple[float, float, float],
    labels: LabelScheme,
    options: EvaluationOptions,
) -> tuple[LabelScore, ...]:
    """Score one case, a score a label of `labels`, in that order.

    Args:
        prediction_zyx: integer label map (z, y, x); 2D images have z = 1.
        reference_zyx: integer label map of the same shape.
        spacing_mm: (z, y, x).
    """
    if options.rules.unit_spacing:
        spacing_mm = (1.0, 1.0, 1.0)
    joint = joint_counts(prediction_zyx, reference_zyx)
    shape = reference_zyx.shape
    diagonal = math.sqrt(sum((length * spacing) ** 2 for length, spacing in zip(shape, spacing_mm, strict=True) if length > 1))
    scores = []
    for name, values in zip(labels.names, labels.values, strict=True):
        counts = _counts(joint, values, labels.ignore_value)
        numbers = overlap_metrics(counts)
        if counts.status == "scored" and set(options.metrics) - {"overlap"}:
            pair = _cut_out(prediction_zyx, reference_zyx, values, joint, labels.ignore_value)
            flat = tuple(axis for axis in range(3) if shape[axis] == 1)
            if "surface" in options.metrics:
                numbers |= surface_metrics(*pair, spacing_mm, flat)
        scores.append(
            LabelScore(
                case=case,
                label=name,
                status=counts.status,
                counts=counts,
                values=_complete(numbers, options),
                diagonal=diagonal,
                voxel_mm3=math.prod(spacing_mm),
            )
        )
    return tuple(scores)


def overlap_metrics(counts: Counts) -> dict[str, float | None]:
    """Dice, IoU, precision, recall and relative volume difference from voxel counts; None where undefined."""
    hits, wrong = counts.true_positives, counts.false_positives + counts.false_negatives
    return {
        "dice": _ratio(2 * hits, 2 * hits + wrong),
        "iou": _ratio(hits, hits + wrong),
        "precision": _ratio(hits, counts.predicted),
        "recall": _ratio(hits, counts.referenced),
        "volume_difference": _ratio(counts.predicted - counts.referenced, counts.referenced),
    }


def surface_metrics(
    prediction: Mask, reference: Mask, spacing_mm: tuple[float, float, float], flat_axes: tuple[int, ...] = ()
) -> dict[str, float | None]:
    """HD95, pooled HD95, HD and ASSD of two masks (z, y, x), neither empty, in the unit of `spacing_mm`."""
    predicted, referenced = border(prediction, flat_axes), border(reference, flat_axes)
    forward = directed_distances(predicted, referenced, spacing_mm)
    backward = directed_distances(referenced, predicted, spacing_mm)
    both = np.concatenate([forward, backward])
    return {
        "hd95": float(max(np.percentile(forward, 95), np.percentile(backward, 95))),
        "hd95_pooled": float(np.percentile(both, 95)),
        "hd": float(both.max()),
        "assd": float(both.mean()),
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _complete(numbers: dict[str, float | None], options: EvaluationOptions) -> dict[str, float | None]:
    """Every key that `options` asks for, None where undefined: all rows have the same columns."""
    keys = ["dice", "iou", "precision", "recall", "volume_difference"]
    keys += ["hd95", "hd95_pooled", "hd", "assd"] if "surface" in options.metrics else []
    keys += [nsd_key(tolerance) for tolerance in options.tolerances_mm] if "nsd" in options.metrics else []
    return {key: numbers.get(key) for key in keys}


def _counts(joint: JointCounts, values: tuple[int, ...], ignore_value: int | None) -> Counts:
    inside = np.isin(joint.values, values)
    table = joint.table[[value != ignore_value for value in joint.values]]
    rows = inside[[value != ignore_value for value in joint.values]]
    hits, referenced, predicted = table[rows][:, inside].sum(), table[rows].sum(), table[:, inside].sum()
    return Counts(
        true_positives=int(hits),
        false_positives=int(predicted - hits),
        false_negatives=int(referenced - hits),
        true_negatives=int(table.sum() - predicted - referenced + hits),
    )


def _cut_out(
    prediction_zyx: LabelArray, reference_zyx: LabelArray, values: tuple[int, ...], joint: JointCounts, ignore_value: int | None
) -> tuple[Mask, Mask]:
    """Both masks of a label in the box around them, ignored voxels belonging to neither."""
    box: Box = union([joint.boxes[value] for value in values if value in joint.boxes])
    predicted, referenced = prediction_zyx[box], reference_zyx[box]
    masks = _member(predicted, values), _member(referenced, values)
    if ignore_value is not None:
        masks[0][referenced == ignore_value] = False
    return masks


def _member(label: LabelArray, values: tuple[int, ...]) -> Mask:
    mask: Mask = label == values[0]
    for value in values[1:]:
        mask |= label == value
    return mask
