"""What is decided once for a dataset, and holds for each of its configurations."""

from __future__ import annotations

from dataclasses import dataclass

from balrsam_pipeline.dataset import DatasetDescription
from balrsam_pipeline.plan import (
    Fingerprint,
    Normalization,
)
from planners.hardware import Hardware
from planners.overrides import Overrides
from planners.rules import Decision
from planners.rules.checkpoint import (
    MICROSCOPY,
    Base,
    domain,
)
from planners.rules.mirroring import mirror_axes
from planners.rules.slices import (
    Order,
)

TIFF_ENDINGS = (".tif", ".tiff")  # whose stacks say nothing of how a patient lies


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonDecisions:
    """What is decided for all configurations of a dataset; `ordered` says of pictures whether labels lie in
    one order from top to bottom."""

    fingerprint: Fingerprint
    description: DatasetDescription
    hardware: Hardware
    overrides: Overrides
    spacing_mm: Decision[tuple[float, float, float]]
    order: Decision[Order]
    schemes: Decision[tuple[Normalization, ...]]
    inside: Decision[tuple[bool, ...]]
    base: Decision[Base]
    ordered: bool = False

    def mirror_axes(self, slicing_axes: tuple[int, ...]) -> Decision[tuple[int, ...]]:
        """Which transposed axes to mirror."""
        channels = self.description.channel_names
        specimens = domain(channels).value in MICROSCOPY or self.description.file_ending in TIFF_ENDINGS
        names, order = self.description.labels.names, self.order.value
        return mirror_axes(
            self.fingerprint, names, order, slicing_axes, channel_names=channels, specimens=specimens
        )
