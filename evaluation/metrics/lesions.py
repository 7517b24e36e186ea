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
ANY_SIZE = ("any size",)  # the only bin where voxels have no volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Numbers of components, one per volume bin of `bin_names`.

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

    @property
    def bin_names(self) -> tuple[str, ...]:
        """What the numbers are of: `BIN_NAMES`, or `ANY_SIZE` where voxels have no volume."""
        return BIN_NAMES if len(self.references) == len(BIN_NAMES) else ANY_SIZE

    def metrics(self) -> dict[str, float | None]:
        """Precision, recall and F1 over all bins; None where undefined. F1 is 0 where one side alone has
        components."""
        precision = sum(self.real) / sum(self.predictions) if sum(self.predictions) else None
        recall = sum(self.found) / sum(self.references) if sum(self.references) else None
        f1: float | None = None if precision is None and recall is None else 0.0
        if precision and recall:
            f1 = 2 * precision * recall / (precision + recall)
        return {"lesion_precision": precision, "lesion_recall": recall, "lesion_f1": f1}


def nothing(has_volume: bool = True) -> Detection:
    """No component."""
    none = (0,) * len(BIN_NAMES if has_volume else ANY_SIZE)
    return Detection(references=none, found=none, predictions=none, real=none)


def detect(prediction: Mask, reference: Mask, voxel_mm3: float | None) -> Detection:
    """Match the components of two masks (z, y, x), either of which may be empty.

    Args:
        voxel_mm3: volume of a voxel; None where it has none, and components are not told apart by volume.
    """
    references, found = _matched(reference, prediction, voxel_mm3)
    predictions, real = _matched(prediction, reference, voxel_mm3)
    return Detection(references=references, found=found, predictions=predictions, real=real)


def add(first: Detection, second: Detection) -> Detection:
    """The components of two cases together; by volume where they are of both."""
    return Detection(
        references=_sum(first.references, second.references),
        found=_sum(first.found, second.found),
        predictions=_sum(first.predictions, second.predictions),
        real=_sum(first.real, second.real),
    )


def _sum(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    if len(first) != len(second):
        return (sum(first) + sum(second),)
    return tuple(one + other for one, other in zip(first, second, strict=True))


def _matched(mask: Mask, other: Mask, voxel_mm3: float | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How many components a mask has, and how many of them the other mask touches, by volume bin."""
    components, number = connected_components(mask)
    touched = np.zeros(number + 1, dtype=np.bool_)
    touched[components[other]] = True
    if voxel_mm3 is None:
        return (number,), (int(touched[1:].sum()),)
    volumes_ml = np.bincount(components.ravel(), minlength=number + 1)[1:] * voxel_mm3 / 1000
    bins = np.digitize(volumes_ml, BIN_EDGES_ML)
    everything = np.bincount(bins, minlength=len(BIN_NAMES))
    matched = np.bincount(bins[touched[1:]], minlength=len(BIN_NAMES))
    return tuple(map(int, everything)), tuple(map(int, matched))
