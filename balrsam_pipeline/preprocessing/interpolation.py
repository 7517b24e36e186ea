"""One axis of a resampling as a banded matrix: spline interpolation is separable, so a volume is three small
matrix products.

`out[i] = Σ_k weights[i, k] · in[columns[i, k]]`. The numbers are those of skimage's `resize(mode="edge",
anti_aliasing=False)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

_POLE = (
    np.sqrt(3.0) - 2.0
)  # of the cubic B-spline's prefilter (Unser 1999, "Splines: a perfect fit for signal processing")
_REACH = (
    12  # taps on each side: |pole|^12 = 1.4e-7, below float32's precision, and what scipy pads an edge with
)
_ROWS = 64  # output rows a matrix product: few enough that the band stays a small part of the image


@dataclass(frozen=True, slots=True, eq=False)
class AxisMap:
    """Resampling along one axis; `weights` is None where every output is one input (nearest neighbour or no
    change)."""

    size_in: int
    size_out: int
    columns: npt.NDArray[np.intp]
    weights: npt.NDArray[np.float32] | None

    @property
    def identity(self) -> bool:
        """Whether output and input are the same."""
        return self.weights is None and self.size_in == self.size_out

    def support(self, start: int, stop: int) -> tuple[int, int]:
        """The input range [lo, hi) that output rows [start, stop) depend on."""
        rows = self.columns[start:stop]
        return int(rows.min()), int(rows.max()) + 1

    def reach(self, lo: int, hi: int) -> tuple[int, int]:
        """The output range [start, stop) that input columns [lo, hi) have any part in; empty ranges are (0,
        0)."""
        touched = np.flatnonzero(((self.columns >= lo) & (self.columns < hi)).any(axis=1))
        return (int(touched[0]), int(touched[-1]) + 1) if len(touched) else (0, 0)

    def apply(
        self, array: npt.NDArray[Any], axis: int, rows: tuple[int, int], lo: int = 0
    ) -> npt.NDArray[Any]:
        """Compute output rows [start, stop) along `axis` from `array`, which holds input columns from `lo`
        on.

        Columns that `array` does not hold count as zero. Weighted maps give float32, the others keep the
        dtype.
        """
        start, stop = rows
        if self.weights is None:
            return array.take(self.columns[start:stop, 0] - lo, axis=axis) if not self.identity else array
        shape = list(array.shape)
        shape[axis] = stop - start
        out = np.empty(shape, dtype=np.float32)
        for first in range(start, stop, _ROWS):
            last = min(first + _ROWS, stop)
            part_lo, part_hi = self.support(first, last)
            part_lo, part_hi = max(part_lo, lo), min(part_hi, lo + array.shape[axis])
            matrix = self._dense(first, last, part_lo, part_hi)
            _multiply(
                matrix,
                _cut(array, axis, part_lo - lo, part_hi - lo),
                axis,
                _cut(out, axis, first - start, last - start),
            )
        return out

    def _dense(self, start: int, stop: int, lo: int, hi: int) -> npt.NDArray[np.float32]:
        matrix = np.zeros((stop - start, max(hi - lo, 0)), dtype=np.float32)
        columns = self.columns[start:stop]
        inside = (columns >= lo) & (columns < hi)
        rows = np.broadcast_to(np.arange(stop - start)[:, None], columns.shape)
        if self.weights is not None:
            np.add.at(matrix, (rows[inside], columns[inside] - lo), self.weights[start:stop][inside])
        return matrix


@lru_cache(maxsize=256)
def axis_map(size_in: int, size_out: int, order: int, antialias: bool = False) -> AxisMap:
    """The map that resamples `size_in` voxels to `size_out` over the same extent, beyond which the edge value
    goes on.

    Args:
        order: 0 nearest neighbour, 1 linear, 3 cubic B-spline.
        antialias: where there are fewer voxels than before, each is the mean over what it covers instead.
    """
    if size_in == size_out:
        return AxisMap(size_in, size_out, np.arange(size_in)[:, None], None)
    if antialias and size_out < size_in and order > 0:
        return _area_map(size_in, size_out)
    position = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    if order == 0:
        nearest = np.floor(position + 0.5).astype(np.intp)
        return AxisMap(size_in, size_out, np.clip(nearest, 0, size_in - 1)[:, None], None)
    lower = np.floor(position).astype(np.intp)
    weights = (_cubic_weights if order == 3 else _linear_weights)(position - lower)
    offsets = np.arange(weights.shape[1]) - (weights.shape[1] // 2 - 1)
    columns = np.clip(lower[:, None] + offsets, 0, size_in - 1)
    return AxisMap(size_in, size_out, columns, weights.astype(np.float32))


def _area_map(size_in: int, size_out: int) -> AxisMap:
    """Each output the mean of the inputs it covers, those at its edges by their share."""
    scale = size_in / size_out
    start = np.arange(size_out) * scale
    first = np.floor(start + 1e-9).astype(np.intp)
    columns = first[:, None] + np.arange(math.ceil(scale) + 1)
    covered = np.minimum(columns + 1, (start + scale)[:, None]) - np.maximum(columns, start[:, None])
    weights = np.clip(covered, 0, None) / scale
    return AxisMap(size_in, size_out, np.clip(columns, 0, size_in - 1), weights.astype(np.float32))


def _linear_weights(fraction: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.stack([1 - fraction, fraction], axis=1)


def _cubic_weights(fraction: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weights of the cardinal cubic spline: the prefilter's impulse response convolved with the four B-spline
    taps."""
    f, g = fraction, 1 - fraction
    taps = np.stack([g**3, 4 - 6 * f**2 + 3 * f**3, 4 - 6 * g**2 + 3 * g**3, f**3], axis=1) / 6
    response = (-6 * _POLE / (1 - _POLE**2)) * _POLE ** np.abs(np.arange(-_REACH, _REACH + 1))
    weights = np.zeros((len(fraction), len(response) + 3))
    for tap in range(4):
        weights[:, tap : tap + len(response)] += taps[:, tap, None] * response
    return weights


def _cut(array: npt.NDArray[Any], axis: int, start: int, stop: int) -> npt.NDArray[Any]:
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _multiply(
    matrix: npt.NDArray[np.float32], array: npt.NDArray[Any], axis: int, out: npt.NDArray[np.float32]
) -> None:
    """out = matrix · array along `axis` of a (z, y, x) array."""
    values = array.astype(np.float32, copy=False)
    if axis == 2:
        np.matmul(values, matrix.T, out=out)
    elif axis == 1:
        np.matmul(matrix, values, out=out)
    else:
        out[...] = (matrix @ values.reshape(len(values), -1)).reshape(out.shape)
