"""Lesion-wise detection: are the connected parts of the reference found, and are those of the prediction
real?

A component counts as matched when it shares at least one voxel with the other mask. Components touch by
faces, edges or corners.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from balrsam_pipeline.voxels.components import connected_components
from evaluation.metrics.engine import Mask

BIN_EDGES_ML = (0.1, 1.0, 10.0)
BIN_NAMES = ("under 0.1 ml", "0.1 to 1 ml", "1 to 10 ml", "10 ml and more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Numbers of components, one per volume bin of `BIN_NAMES`.

    Attributes:
        references: components of the reference.
        found: those that the prediction touches.
        predictions: components of the prediction.
        real: those that the reference touches.
    """

    references: tuple[int, ...]
    found: tuple[int, ...]
    predictions: tuple[int, ...]
    real: tuple[int, ...]

    def metrics(self) -> dict[str, float | None]:
        """Precision, recall and F1 over all bins; None where undefined. F1 is 0 where one side alone has
        components."""
        precision = sum(self.real) / sum(self.predictions) if sum(self.predictions) else None
        recall = sum(self.found) / sum(self.references) if sum(self.references) else None
        f1: float | None = None if precision is None and recall is None else 0.0
        if precision and recall:
            f1 = 2 * precision * recall / (precision + recall)
        return {"lesion_precision": precision, "lesion_recall": recall, "lesion_f1": f1}


NOTHING = Detection(references=(0,) * 4, found=(0,) * 4, predictions=(0,) * 4, real=(0,) * 4)


def detect(prediction: Mask, reference: Mask, voxel_mm3: float) -> Detection:
    """Match the components of two masks (z, y, x), either of which may be empty."""
    references, found = _matched(reference, prediction, voxel_mm3)
    predictions, real = _matched(prediction, reference, voxel_mm3)
    return Detection(references=references, found=found, predictions=predictions, real=real)


def add(first: Detection, second: Detection) -> Detection:
    """The components of two cases together."""
    return Detection(
        references=_sum(first.references, second.references),
        found=_sum(first.found, second.found),
        predictions=_sum(first.predictions, second.predictions),
        real=_sum(first.real, second.real),
    )


def _sum(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(one + other for one, other in zip(first, second, strict=True))


def _matched(mask: Mask, other: Mask, voxel_mm3: float) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many components a mask has, and how many of them the other mask touches, by volume bin."""
    components, number = connected_components(mask)
    volumes_ml = np.bincount(components.ravel(), minlength=number + 1)[1:] * voxel_mm3 / 1000
    touched = np.zeros(number + 1, dtype=np.bool_)
    touched[components[other]] = True
    bins = np.digitize(volumes_ml, BIN_EDGES_ML)
    everything = np.bincount(bins, minlength=len(BIN_NAMES))
    matched = np.bincount(bins[touched[1:]], minlength=len(BIN_NAMES))
    return tuple(map(int, everything)), tuple(map(int, matched))
