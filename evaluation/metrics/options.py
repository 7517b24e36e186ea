"""How to score: which metrics, at which tolerances, and by which protocol empty masks count.

For each case and label the truth is always kept (`status`, undefined values are null); a protocol only
decides what enters means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

from balrsam_pipeline.errors import EvaluationError

Status = Literal["scored", "absent", "missed", "spurious"]
"""scored: both masks hold the label; absent: neither; missed: only the reference; spurious: only the
prediction."""

DIAGONAL: Final = "diagonal"
"""Stands for the physical diagonal of the image: no distance in it can be larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """What an empty mask counts as: a value, None (left out of means, and counted), or the image diagonal."""

    overlap: float | None
    distance: float | Literal["diagonal"] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A way to count, named in every report.

    Attributes:
        identifier: name and version; it changes whenever a number could.
        text: the rules in a sentence, for reports.
        absent: neither mask holds the label.
        missed: the reference holds it, the prediction does not.
        spurious: the prediction holds it, the reference does not.
        pooled_hd95: whether HD95 is the percentile of both directions pooled (MedPy) instead of the larger of
            two.
        unit_spacing: whether distances are measured in voxels instead of mm.
    """

    identifier: str
    text: str
    absent: Empty
    missed: Empty
    spurious: Empty
    pooled_hd95: bool = False
    unit_spacing: bool = False

    def empty(self, status: Status) -> Empty:
        """The rule for a status other than 'scored'."""
        return {"absent": self.absent, "missed": self.missed, "spurious": self.spurious}[status]


# the diagonal of BraTS's 240 x 240 x 155 mm volume; source: Bakas et al. 2018, BraTS 2017-2021 rules
BRATS_DISTANCE_MM = 373.1287

PROTOCOLS: dict[str, Protocol] = {
    "default": Protocol(
        identifier="default/1",
        text="A label that is in neither mask is left out of means and counted. A missed or spurious label "
        "counts as overlap 0 "
        "and as a distance of the physical image diagonal.",
        absent=Empty(overlap=None, distance=None),
        missed=Empty(overlap=0.0, distance=DIAGONAL),
        spurious=Empty(overlap=0.0, distance=DIAGONAL),
    ),
    "transunet": Protocol(
        identifier="transunet/1",
        text="As in the code of TransUNet and SAMed: an absent or missed label counts as Dice 0 and HD95 0, "
        "a spurious one as "
        "Dice 1 and HD95 0; HD95 pools both directions (MedPy) and is measured in voxels.",
        absent=Empty(overlap=0.0, distance=0.0),
        missed=Empty(overlap=0.0, distance=0.0),
        spurious=Empty(overlap=1.0, distance=0.0),
        pooled_hd95=True,
        unit_spacing=True,
    ),
    "brats": Protocol(
        identifier="brats/1",
        text="As in the BraTS challenges: an absent label counts as overlap 1 and distance 0, a missed or "
        "spurious one as overlap 0 "
        f"and distance {BRATS_DISTANCE_MM:.2f} mm.",
        absent=Empty(overlap=1.0, distance=0.0),
        missed=Empty(overlap=0.0, distance=BRATS_DISTANCE_MM),
        spurious=Empty(overlap=0.0, distance=BRATS_DISTANCE_MM),
    ),
    "exclude": Protocol(
        identifier="exclude/1",
        text="A label that is in neither mask is left out of means and counted. A missed or spurious label "
        "counts as overlap 0; "
        "its distances are left out of means and counted, so that mean distances leave out the worst "
        "failures.",
        absent=Empty(overlap=None, distance=None),
        missed=Empty(overlap=0.0, distance=None),
        spurious=Empty(overlap=0.0, distance=None),
    ),
}

Group = Literal["overlap", "surface", "nsd", "detection"]
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How to score.

    Attributes:
        protocol: a name of `evaluation.metrics.options.PROTOCOLS`: what empty masks count as.
        metrics: which groups of metrics to compute; overlap is always computed.
        tolerances_mm: the tolerances of NSD, in mm (pixels for images without a physical size).
        workers: how many cases are scored at once.
        missing_as_empty: score a case without a prediction as if the prediction were empty, instead of
            refusing.

    Raises:
        EvaluationError: a value is out of range or unknown.
    """

    protocol: str = "default"
    metrics: tuple[Group, ...] = ("overlap", "surface", "nsd")
    tolerances_mm: tuple[float, ...] = (1.0,)
    workers: int = 1
    missing_as_empty: bool = False

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise _wrong("protocol", repr(self.protocol), f"one of {', '.join(PROTOCOLS)}")
        unknown = sorted(set(self.metrics) - set(GROUPS))
        if unknown:
            raise _wrong("metrics", ", ".join(unknown), f"any of {', '.join(GROUPS)}")
        if not all(math.isfinite(tolerance) and tolerance >= 0 for tolerance in self.tolerances_mm):
            raise _wrong("tolerance", str(self.tolerances_mm), "finite values of 0 or more")
        if self.workers < 1:
            raise _wrong("workers", str(self.workers), "1 or more")

    @property
    def rules(self) -> Protocol:
        """The protocol that `protocol` names."""
        return PROTOCOLS[self.protocol]


def _wrong(option: str, found: str, expected: str) -> EvaluationError:
    return EvaluationError(
        f"evaluation option '{option}'", found=found, expected=expected, fix=f"correct --{option}"
    )
