"""HD95, HD and ASSD of two masks, from how often each distance between their borders occurs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.metrics.engine import Distances, Grid, Mask, Spacing, Words, border, count, grid_for, nearest


def surface_metrics(
    prediction: Mask, reference: Mask, spacing_mm: Spacing, flat_axes: tuple[int, ...] = ()
) -> dict[str, float]:
    """HD95, pooled HD95, HD and ASSD of two masks (z, y, x), neither empty, in the unit of `spacing_mm`."""
    z, y, x = reference.shape
    grid = grid_for((z, y, x), spacing_mm, flat_axes)
    predicted, referenced = (border(grid.pack(mask), grid, flat_axes) for mask in (prediction, reference))
    forward = _spread(predicted, referenced, grid, spacing_mm)
    backward = _spread(referenced, predicted, grid, spacing_mm)
    both = _joined([forward, backward])
    return {
        "hd95": max(forward.percentile(0.95), backward.percentile(0.95)),
        "hd95_pooled": both.percentile(0.95),
        "hd": float(both.distances_mm[-1]),
        "assd": float(both.distances_mm @ both.counts / both.counts.sum()),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """Distances in ascending order, and how many border voxels have each."""

    distances_mm: Distances
    counts: npt.NDArray[np.int64]

    def percentile(self, share: float) -> float:
        """Linear interpolation between the two nearest ranks."""
        ends = np.cumsum(self.counts)
        place = share * (int(ends[-1]) - 1)
        low, high = (
            float(self.distances_mm[np.searchsorted(ends, rank, side="right")])
            for rank in (math.floor(place), math.ceil(place))
        )
        return low + (high - low) * (place - math.floor(place))


def _spread(sources: Words, targets: Words, grid: Grid, spacing_mm: Spacing) -> _Spread:
    spreads = []
    for match in nearest(sources, targets, grid, spacing_mm):
        distances_mm, counts = match.distances_mm, np.array([count(match.bits)])
        if len(distances_mm) > 1:
            distances_mm, counts = np.unique(distances_mm, return_counts=True)
        spreads.append(_Spread(distances_mm=distances_mm, counts=counts))
    return _joined(spreads)


def _joined(spreads: Sequence[_Spread]) -> _Spread:
    distances_mm = np.concatenate([spread.distances_mm for spread in spreads])
    counts = np.concatenate([spread.counts for spread in spreads])
    order = np.argsort(distances_mm, kind="stable")
    order = order[counts[order] > 0]
    return _Spread(distances_mm=distances_mm[order], counts=counts[order])
