"""The metrics: key, title, unit, what is better, and the definition in words. Reports quote these;
docs/evaluation.md explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Family = Literal["overlap", "rate", "distance", "volume"]
"""overlap and distance: a protocol decides what empty masks count as; rate and volume: an undefined value is
left out, and counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number per case and label.

    Attributes:
        key: name in Python and in CSV columns.
        title: name in summary.json and in reports.
        definition: identifier and version of the definition; it changes whenever a number could.
        better: which direction is better; 'zero' for signed differences.
        unit: '' for a ratio, 'length' (mm, or px), 'ml'.
        text: the definition in words.
    """

    key: str
    title: str
    definition: str
    family: Family
    better: Literal["higher", "lower", "zero"]
    unit: Literal["", "length", "volume"]
    text: str

    @property
    def rests_on_lengths(self) -> bool:
        """Whether the value depends on the unit of lengths: it is one, or has a tolerance that is one."""
        return self.unit == "length" or self.key.startswith(_NSD)


_NSD = "nsd_"
_FIXED = (
    Metric(
        key="dice",
        title="Dice",
        definition="dice/1",
        family="overlap",
        better="higher",
        unit="",
        text="2 TP / (2 TP + FP + FN), over voxels",
    ),
    Metric(
        key="iou",
        title="IoU",
        definition="iou/1",
        family="overlap",
        better="higher",
        unit="",
        text="TP / (TP + FP + FN), over voxels",
    ),
    Metric(
        key="precision",
        title="Precision",
        definition="precision/1",
        family="rate",
        better="higher",
        unit="",
        text="TP / (TP + FP), over voxels; undefined where nothing is predicted",
    ),
    Metric(
        key="recall",
        title="Recall",
        definition="recall/1",
        family="rate",
        better="higher",
        unit="",
        text="TP / (TP + FN), over voxels; undefined where the reference is empty",
    ),
    Metric(
        key="volume_difference",
        title="RelativeVolumeDifference",
        definition="relative-volume-difference/1",
        family="volume",
        better="zero",
        unit="",
        text="(predicted volume - reference volume) / reference volume; undefined where the reference is "
        "empty",
    ),
    Metric(
        key="hd95",
        title="HD95",
        definition="hd95-directed-percentile-max/1",
        family="distance",
        better="lower",
        unit="length",
        text="the larger of the two directed 95th percentiles (linear interpolation) of the distances from "
        "each border voxel of one "
        "mask to the nearest border voxel of the other; border: 6-connected (4-connected in 2D), the image "
        "edge counts as border",
    ),
    Metric(
        key="hd95_pooled",
        title="HD95Pooled",
        definition="hd95-pooled-medpy/1",
        family="distance",
        better="lower",
        unit="length",
        text="the 95th percentile of both directions' distances taken together, as MedPy computes HD95",
    ),
    Metric(
        key="hd",
        title="HD",
        definition="hd100-border-voxels/1",
        family="distance",
        better="lower",
        unit="length",
        text="the largest distance from a border voxel of either mask to the nearest border voxel of the "
        "other",
    ),
    Metric(
        key="assd",
        title="ASSD",
        definition="assd-border-voxels/1",
        family="distance",
        better="lower",
        unit="length",
        text="the mean of both directions' distances taken together",
    ),
    Metric(
        key="lesion_precision",
        title="LesionPrecision",
        definition="lesion-precision-any-overlap/1",
        family="rate",
        better="higher",
        unit="",
        text="the share of the prediction's connected components (26-connected, 8-connected in 2D) that "
        "share a voxel with the reference; "
        "undefined where nothing is predicted",
    ),
    Metric(
        key="lesion_recall",
        title="LesionRecall",
        definition="lesion-recall-any-overlap/1",
        family="rate",
        better="higher",
        unit="",
        text="the share of the reference's connected components that share a voxel with the prediction; "
        "undefined where it has none",
    ),
    Metric(
        key="lesion_f1",
        title="LesionF1",
        definition="lesion-f1-any-overlap/1",
        family="rate",
        better="higher",
        unit="",
        text="the harmonic mean of lesion precision and recall; 0 where one mask alone has components",
    ),
)
METRICS: dict[str, Metric] = {metric.key: metric for metric in _FIXED}


GROUP_KEYS: dict[str, tuple[str, ...]] = {
    "overlap": ("dice", "iou", "precision", "recall", "volume_difference"),
    "surface": ("hd95", "hd95_pooled", "hd", "assd"),
    "detection": ("lesion_precision", "lesion_recall", "lesion_f1"),
}


def keys_of(groups: Sequence[str], tolerances: Sequence[float]) -> tuple[str, ...]:
    """The metric keys that groups of metrics stand for, in the order of reports."""
    keys = [*GROUP_KEYS["overlap"]]
    keys += GROUP_KEYS["surface"] if "surface" in groups else ()
    keys += [nsd_key(tolerance) for tolerance in tolerances] if "nsd" in groups else []
    keys += GROUP_KEYS["detection"] if "detection" in groups else ()
    return tuple(keys)


def nsd_key(tolerance: float) -> str:
    """The key of NSD at a tolerance: 1.0 -> 'nsd_1'."""
    return f"{_NSD}{tolerance:g}"


def metric_of(key: str) -> Metric:
    """The metric that a key names; NSD keys carry their tolerance."""
    if not key.startswith(_NSD):
        return METRICS[key]
    tolerance = key.removeprefix(_NSD)
    return Metric(
        key=key,
        title=f"NSD@{tolerance}",
        definition=f"nsd-surface-elements/1@{tolerance}",
        family="overlap",
        better="higher",
        unit="",
        text=f"the share of both surfaces' area that lies within {tolerance} (mm, or px) of the other "
        "surface; surface elements of "
        "2x2x2 neighbourhoods weighted by their area (Nikolov et al. 2018)",
    )
