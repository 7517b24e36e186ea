"""What was measured on a dataset, case by case; `plan.py` reads and writes it beside the plan.

Arrays are (channel, z, y, x); spacing is in the same order, in mm.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace

from balrsam_pipeline.serialise import compact_json, to_json

SCHEMA_VERSION = 1
# fields of a case that are those of many others
COMMON_MEASUREMENTS = ("shape_zyx", "cropped_shape_zyx", "spacing_mm", "orientation", "dtype")

BACKGROUND = "background"  # as a label: of cases that labels fill


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """Intensity statistics of one channel over foreground voxels of all training cases (nnU-Net's fields)."""

    mean: float
    median: float
    std: float
    min: float
    max: float
    percentile_00_5: float
    percentile_99_5: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFingerprint:
    """What was measured on one training case.

    Attributes:
        label_thickness_px: mean in-plane thickness of each label that it shows, and of the background where
            labels fill most of the case.
        label_centres: the mean voxel (z, y, x) of each of those, from 0 to 1 of the image's sides; none of
            cases measured by earlier versions.
        channel_statistics: of the case's own foreground, empty where it shows none.
        measured_by: the version of what is measured, where that tells: 2 of single slices and of cases that
            labels fill, whose thickness was measured otherwise before.
    """

    case: str
    shape_zyx: tuple[int, int, int]
    cropped_shape_zyx: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    orientation: str
    dtype: str
    content_sha256: str
    label_voxels: dict[str, int]
    label_thickness_px: dict[str, float]
    label_centres: dict[str, tuple[float, float, float]] = field(
        default_factory=dict, metadata={"added": True}
    )
    channel_statistics: tuple[ChannelStatistics, ...] = ()
    measured_by: int = field(default=1, metadata={"added": True})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What was measured on a whole dataset: every case, and foreground statistics of every channel."""

    schema_version: int = SCHEMA_VERSION
    dataset: str
    cases: tuple[CaseFingerprint, ...]
    channel_statistics: tuple[ChannelStatistics, ...]

    @property
    def orientations(self) -> tuple[str, ...]:
        """Codes in which its volumes are stored, such as "LPS", the most frequent first; none of pictures."""
        counts = Counter(case.orientation for case in self.cases if case.orientation != "2D")
        return tuple(code for code, _ in counts.most_common())

    def sha256(self) -> str:
        """A hash of all that was measured: that of its JSON, made case by case."""
        digest = hashlib.sha256(b'{"cases":[')
        for number, case in enumerate(self.cases):
            digest.update(
                f"{',' if number else ''}{compact_json(to_json(case, without_added_defaults=True))}".encode()
            )
        rest = to_json(replace(self, cases=()))
        del rest["cases"]  # the first of the sorted keys
        digest.update(f"],{compact_json(rest)[1:]}".encode())
        return digest.hexdigest()
