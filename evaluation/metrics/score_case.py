"""Scoring one pair of label maps: every label's counts and metrics, all empty masks told apart."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from evaluation.metrics.engine import JointCounts, Mask, Spacing, joint_counts, union
from evaluation.metrics.lesions import Detection, detect
from evaluation.metrics.normalized_surface_dice import surface_dice
from evaluation.metrics.options import EvaluationOptions, Status
from evaluation.metrics.registry import keys_of, nsd_key
from evaluation.metrics.surface_distance import surface_metrics

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
        voxel_mm3: volume of a voxel, to turn counts into volumes; None where it has none: in 2D images, and
            where the size of voxels is not known.
        detection: numbers of components, where they were asked for.
    """

    case: str
    label: str
    status: Status
    counts: Counts
    values: dict[str, float | None] = field(default_factory=dict)
    diagonal: float
    voxel_mm3: float | None
    detection: Detection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """What scoring every label of a case needs."""

    prediction_zyx: LabelArray
    reference_zyx: LabelArray
    joint: JointCounts
    spacing_mm: Spacing
    voxel_mm3: float | None
    ignore_value: int | None
    options: EvaluationOptions

    @property
    def flat_axes(self) -> tuple[int, ...]:
        return tuple(axis for axis, length in enumerate(self.reference_zyx.shape) if length == 1)


def score_pair(
    case: str,
    prediction_zyx: LabelArray,
    reference_zyx: LabelArray,
    spacing_mm: Spacing,
    labels: LabelScheme,
    options: EvaluationOptions,
    has_volume: bool = True,
) -> tuple[LabelScore, ...]:
    """Score one case: one score per label of `labels`, in that order.

    Args:
        prediction_zyx: integer label map (z, y, x); 2D images have z = 1.
        reference_zyx: integer label map of the same shape.
        spacing_mm: (z, y, x); z is 1 for 2D images, so that products are areas.
        has_volume: whether the product of the spacing is a voxel's volume in mm³; not of 2D images.

    Raises:
        EvaluationError: the arrays are no label maps of one shape.

    >>> from balrsam_pipeline.dataset import parse_labels
    >>> labels = parse_labels({"labels": {"background": 0, "organ": 1, "lesion": 2}}, "dataset.json")
    >>> reference = np.zeros((4, 8, 8), dtype=np.uint8)
    >>> reference[1:3, 2:6, 2:6] = 1
    >>> prediction = np.roll(reference, 1, axis=2)
    >>> maps, spacing_mm = (prediction, reference), (2.0, 1.0, 1.0)
    >>> organ, lesion = score_pair("case", *maps, spacing_mm, labels, EvaluationOptions())
    >>> organ.values["dice"], organ.values["hd95"], lesion.status, lesion.values["dice"]
    (0.75, 1.0, 'absent', None)
    """
    _require_label_maps(case, prediction_zyx, reference_zyx)
    lengths = (1.0, 1.0, 1.0) if options.rules.unit_spacing else spacing_mm
    all_of = _Case(
        prediction_zyx=prediction_zyx,
        reference_zyx=reference_zyx,
        joint=joint_counts(prediction_zyx, reference_zyx),
        spacing_mm=lengths,
        voxel_mm3=math.prod(spacing_mm) if has_volume else None,
        ignore_value=labels.ignore_value,
        options=options,
    )
    diagonal = math.hypot(
        *(n * length for n, length in zip(reference_zyx.shape, lengths, strict=True) if n > 1)
    )
    return tuple(
        _score_label(case, name, values, all_of, diagonal)
        for name, values in zip(labels.names, labels.values, strict=True)
    )


def _require_label_maps(case: str, prediction_zyx: LabelArray, reference_zyx: LabelArray) -> None:
    found = ""
    if prediction_zyx.shape != reference_zyx.shape or prediction_zyx.ndim != 3:
        found = f"shapes {prediction_zyx.shape} and {reference_zyx.shape}"
    for name, label in (("prediction", prediction_zyx), ("reference", reference_zyx)):
        if label.dtype.kind not in "biu":
            found = found or f"a {name} of type {label.dtype}"
        elif label.dtype.kind == "i" and label.min(initial=0) < 0:
            found = found or f"negative values in the {name}"
    if found:
        raise EvaluationError(
            case,
            found=found,
            expected="two maps (z, y, x) of one shape, whole numbers from 0",
            fix="convert them; 2D images have z = 1",
        )


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


def _score_label(case: str, name: str, values: tuple[int, ...], all_of: _Case, diagonal: float) -> LabelScore:
    counts = _counts(all_of.joint, values, all_of.ignore_value)
    options = all_of.options
    numbers, detection = overlap_metrics(counts), None
    if counts.status != "absent" and set(options.metrics) - {"overlap"}:
        prediction, reference = _cut_out(all_of, values)
        if counts.status == "scored" and "surface" in options.metrics:
            numbers |= surface_metrics(prediction, reference, all_of.spacing_mm, all_of.flat_axes)
        if counts.status == "scored" and "nsd" in options.metrics:
            shares = surface_dice(
                prediction, reference, all_of.spacing_mm, options.tolerances_mm, all_of.flat_axes
            )
            numbers |= zip(map(nsd_key, options.tolerances_mm), shares, strict=True)
        if "detection" in options.metrics:
            detection = detect(prediction, reference, all_of.voxel_mm3)
            numbers |= detection.metrics()
    return LabelScore(
        case=case,
        label=name,
        status=counts.status,
        counts=counts,
        values={key: numbers.get(key) for key in keys_of(options.metrics, options.tolerances_mm)},
        diagonal=diagonal,
        voxel_mm3=all_of.voxel_mm3,
        detection=detection,
    )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _counts(joint: JointCounts, values: tuple[int, ...], ignore_value: int | None) -> Counts:
    inside = np.isin(joint.values, values)
    scored = np.array(joint.values) != ignore_value
    hits = joint.table[inside & scored][:, inside].sum()
    referenced, predicted = joint.table[inside & scored].sum(), joint.table[scored][:, inside].sum()
    return Counts(
        true_positives=int(hits),
        false_positives=int(predicted - hits),
        false_negatives=int(referenced - hits),
        true_negatives=int(joint.table[scored].sum() - predicted - referenced + hits),
    )


def _cut_out(all_of: _Case, values: tuple[int, ...]) -> tuple[Mask, Mask]:
    """Both masks of a label in the box around them, ignored voxels belonging to neither."""
    box = union([all_of.joint.boxes[value] for value in values if value in all_of.joint.boxes])
    predicted, referenced = all_of.prediction_zyx[box], all_of.reference_zyx[box]
    prediction, reference = _member(predicted, values), _member(referenced, values)
    if all_of.ignore_value is not None:
        prediction[referenced == all_of.ignore_value] = False
    return prediction, reference


def _member(label: LabelArray, values: tuple[int, ...]) -> Mask:
    mask: Mask = label == values[0]
    for value in values[1:]:
        mask |= label == value
    return mask
