"""Resampling images with splines, slice by slice where spacing is anisotropic.

Exact to nnU-Net v2's numerics within float32; quicker, because each axis is a small matrix product and axes
that already
fit cost nothing. Memory is bounded: output comes in slabs along axis 0.
Suffixes: `volume_zyx` one channel, `slab_zyx` some of its slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.preprocessing.interpolation import AxisMap, axis_map

ANISOTROPY_THRESHOLD = (
    3.0  # nnU-Net's: above it, slices are resampled one by one and the coarse axis by nearest neighbour
)
SLAB_VOXELS = 2**22  # 16 MiB of float32 a slab
_SMALLEST_SLAB = 16

Shape = tuple[int, int, int]
Spacing = Sequence[float]
Converter = Callable[[npt.NDArray[Any], int], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """How a volume of `shape_in` becomes one of `shape_out`; `coarse_axis` is the one taken apart, None where
    none is."""

    shape_in: Shape
    shape_out: Shape
    axes: tuple[AxisMap, AxisMap, AxisMap]
    coarse_axis: int | None

    @property
    def identity(self) -> bool:
        """Whether nothing changes."""
        return all(axis.identity for axis in self.axes)

    def slabs(self) -> Iterator[tuple[int, int]]:
        """Ranges [start, stop) of output slices whose slabs fit in about `SLAB_VOXELS`."""
        largest = max(self.shape_in[1] * self.shape_in[2], self.shape_out[1] * self.shape_out[2])
        step = max(_SMALLEST_SLAB if self.axes[0].weights is not None else 1, SLAB_VOXELS // largest)
        for start in range(0, self.shape_out[0], step):
            yield start, min(start + step, self.shape_out[0])


def resampled_shape(shape_zyx: Sequence[int], spacing_mm: Spacing, target_spacing_mm: Spacing) -> Shape:
    """The shape that covers the same extent at another spacing, at least one voxel per axis.

    Source: nnU-Net v2, `compute_new_shape`.

    Example:
        >>> resampled_shape((10, 64, 64), (5.0, 0.5, 0.5), (5.0, 1.0, 1.0))
        (10, 32, 32)
    """
    sizes = [
        round(old / new * size)
        for old, new, size in zip(spacing_mm, target_spacing_mm, shape_zyx, strict=True)
    ]
    z, y, x = (max(1, size) for size in sizes)
    return z, y, x


def coarse_axis(spacing_mm: Spacing, target_spacing_mm: Spacing) -> int | None:
    """The one axis that is much coarser than the others, in the image or else in the target; None where there
    is none.

    Source: nnU-Net v2, `determine_do_sep_z_and_axis`.
    """
    for spacing in (spacing_mm, target_spacing_mm):
        if max(spacing) / min(spacing) > ANISOTROPY_THRESHOLD:
            coarsest = [axis for axis, value in enumerate(spacing) if value == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def plan_resampling(
    shape_in: Shape,
    shape_out: Shape,
    spacing_mm: Spacing,
    target_spacing_mm: Spacing,
    order: int,
    antialias: bool = False,
) -> Resampling:
    """Work out the resampling of one volume.

    Args:
        spacing_mm: (z, y, x) of the input; with `target_spacing_mm` it decides whether slices are resampled
            one by one.
        order: of the splines within slices (3 images, 1 labels and logits); a coarse axis gets order 0.
        antialias: whether voxels that become fewer are averaged (within slices) instead of sampled.
    """
    coarse = coarse_axis(spacing_mm, target_spacing_mm)
    maps = [
        axis_map(old, new, 0 if axis == coarse else order, antialias)
        for axis, (old, new) in enumerate(zip(shape_in, shape_out, strict=True))
    ]
    return Resampling(shape_in, shape_out, (maps[0], maps[1], maps[2]), coarse)


def resample(
    array_czyx: npt.NDArray[Any],
    shape_zyx: Shape,
    spacing_mm: Spacing,
    target_spacing_mm: Spacing,
    order: int = 3,
) -> npt.NDArray[np.float32]:
    """Resample every channel of (channel, z, y, x) to `shape_zyx`; returns float32 (channel, *shape_zyx).

    Source: nnU-Net v2, `resample_data_or_seg_to_shape`.

    Example:
        >>> ramp_czyx = np.arange(8.0).reshape(1, 1, 1, 8)
        >>> halved = resample(ramp_czyx, (1, 1, 4), (1.0, 1.0, 1.0), (1.0, 1.0, 2.0), order=1)
        >>> halved.shape, halved.dtype.name
        ((1, 1, 1, 4), 'float32')
    """
    _, depth, height, width = array_czyx.shape
    resampling = plan_resampling((depth, height, width), shape_zyx, spacing_mm, target_spacing_mm, order)
    out = np.empty((len(array_czyx), *shape_zyx), dtype=np.float32)
    for channel, volume_zyx in enumerate(array_czyx):
        resample_image(volume_zyx, resampling, _as_float, out[channel])
    return out


def resample_image(
    volume_zyx: npt.NDArray[Any], resampling: Resampling, convert: Converter, out: npt.NDArray[np.float32]
) -> None:
    """Convert and resample one channel into `out` (shape_out), clipped to the range of its input as skimage's
    `resize` does.

    The range is that of the whole volume, or of each slice where slices are resampled one by one.
    """
    if resampling.identity:
        for start, stop in resampling.slabs():
            out[start:stop] = convert(volume_zyx[start:stop], start)
        return
    lowest, highest = np.array(np.inf, dtype=np.float32), np.array(-np.inf, dtype=np.float32)
    others = (
        tuple(axis for axis in range(3) if axis != resampling.coarse_axis)
        if resampling.coarse_axis is not None
        else (0, 1, 2)
    )
    for start, stop in resampling.slabs():
        lo, hi = resampling.axes[0].support(start, stop)
        slab_zyx = convert(volume_zyx[lo:hi], lo)
        low, high = slab_zyx.min(axis=others, keepdims=True), slab_zyx.max(axis=others, keepdims=True)
        out[start:stop] = _apply_axes(slab_zyx, resampling, (start, stop), lo)
        if resampling.coarse_axis == 0:
            rows = resampling.axes[0]
            out[start:stop].clip(
                rows.apply(low, 0, (start, stop), lo),
                rows.apply(high, 0, (start, stop), lo),
                out=out[start:stop],
            )
        else:
            lowest, highest = (
                np.minimum(lowest, low, dtype=np.float32),
                np.maximum(highest, high, dtype=np.float32),
            )
    if resampling.coarse_axis in (1, 2):
        along = resampling.axes[resampling.coarse_axis]
        whole = (0, along.size_out)
        lowest, highest = (along.apply(bound, resampling.coarse_axis, whole) for bound in (lowest, highest))
    if resampling.coarse_axis != 0:
        np.clip(out, lowest, highest, out=out)


def _apply_axes(
    slab_zyx: npt.NDArray[np.float32], resampling: Resampling, rows: tuple[int, int], lo: int
) -> npt.NDArray[np.float32]:
    """Resample in-plane first, on the input's slices, then along axis 0 from input slices `lo`… to output
    slices `rows`."""
    for axis in (2, 1):
        slab_zyx = resampling.axes[axis].apply(slab_zyx, axis, (0, resampling.shape_out[axis]))
    return resampling.axes[0].apply(slab_zyx, 0, rows, lo)


def _as_float(slab_zyx: npt.NDArray[Any], _start: int) -> npt.NDArray[np.float32]:
    return slab_zyx.astype(np.float32, copy=False)
