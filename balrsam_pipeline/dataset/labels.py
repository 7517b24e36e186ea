"""Labels, regions and the ignore label of a dataset, and how logit channels encode them (nnU-Net v2's rules).

Suffixes: `label_zyx` integer label map, `logits_kzyx` one channel per class or region.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScheme:
    """What the values of a label map mean.

    Attributes:
        names: foreground label or region names, in the order in which they are scored.
        values: for each name the label values that it covers (one value for a plain label, several for a
            region).
        has_regions: whether logits are independent (sigmoid) regions rather than exclusive (softmax) classes.
        region_order: for regions, the value that each region writes into the label map, painted in this
            order.
        ignore_value: voxels of this value take no part in training or scoring; None where there is none.
        largest: the largest label value that is not the ignore label.
    """

    names: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    has_regions: bool
    region_order: tuple[int, ...]
    ignore_value: int | None
    largest: int

    @property
    def classes(self) -> int:
        """Number of logit channels K: regions, or background and labels 1…largest."""
        return len(self.names) if self.has_regions else self.largest + 1

    @property
    def allowed_values(self) -> frozenset[int]:
        """Every value that a label map of this dataset may hold."""
        known = {0} | {value for values in self.values for value in values}
        return frozenset(known | ({self.ignore_value} if self.ignore_value is not None else set()))

    def decode(self, logits_kzyx: npt.NDArray[np.floating]) -> npt.NDArray[np.int16]:
        """Logits (K, …) to a label map (…): argmax, or regions above 0 painted in `region_order`."""
        if not self.has_regions:
            return np.asarray(logits_kzyx.argmax(axis=0), dtype=np.int16)
        label = np.zeros(logits_kzyx.shape[1:], dtype=np.int16)
        for channel, value in enumerate(self.region_order):
            label[logits_kzyx[channel] > 0] = value
        return label

    def value_around(self, names: Collection[str]) -> int:
        """What a voxel that is none of `names` after all is instead: the value of the smallest region that
        holds them (necrosis within a tumour's core), else background.

        Example:
            >>> scheme = LabelScheme(
            ...     names=("whole", "core", "enhancing"),
            ...     values=((1, 2, 3), (2, 3), (3,)),
            ...     has_regions=True,
            ...     region_order=(1, 2, 3),
            ...     ignore_value=None,
            ...     largest=3,
            ... )
            >>> [scheme.value_around([name]) for name in scheme.names]
            [0, 1, 2]
        """
        if not self.has_regions:
            return 0
        inner = {value for name in names for value in self.values[self.names.index(name)]}
        holding = [
            (len(values), painted)
            for values, painted in zip(self.values, self.region_order, strict=True)
            if inner < set(values) and painted not in inner
        ]
        return min(holding, default=(0, 0))[1]

    def mask(self, label: npt.NDArray[np.integer], name: str) -> npt.NDArray[np.bool_]:
        """Where a label map shows the label or region `name`."""
        values = self.values[self.names.index(name)]
        if len(values) == 1:  # a third of the time
            return np.asarray(label == values[0])
        return np.isin(label, values)
