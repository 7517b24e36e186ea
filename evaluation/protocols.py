"""Protocols: what a metric counts as, in means, where one or both masks are empty.

Per case and label the truth is always kept (`status`, undefined values are null); a protocol only decides
what enters means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

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
