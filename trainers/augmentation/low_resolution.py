"""Low resolution: slices made smaller with the nearest pixel and larger again by cubic convolution;
or volumes, larger again linearly.

batchgenerators enlarges with cubic splines, which take most of the time of all intensity changes on a CPU.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from trainers.augmentation.transform import PER_CHANNEL, Array, Limits, Seeds, Shape, Transform, between


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """The zoom of each channel, (c,); 1 leaves it as it is."""
    zoom_c = np.ones(shape_cshw[0])
    for channel in range(shape_cshw[0]):
        if rng.random_sample() < PER_CHANNEL:
            one_value = limits[0] == limits[1]
            zoom_c[channel] = limits[0] if one_value else between(rng.random_sample(), limits)
    return zoom_c


def apply(image_cshw: npt.NDArray[np.float32], zoom_c: Array) -> npt.NDArray[np.float32]:
    """Make the slices of every channel smaller by its zoom, and as large as before again."""
    for channel in np.flatnonzero(zoom_c != 1.0):
        image_cshw[channel] = _coarsened(
            torch.from_numpy(image_cshw[channel]), float(zoom_c[channel])
        ).numpy()
    return image_cshw


def apply_to_volume(image_czyx: npt.NDArray[np.float32], zoom_c: Array) -> npt.NDArray[np.float32]:
    """The same along all axes, larger again linearly."""
    size = list(image_czyx.shape[1:])
    for channel in np.flatnonzero(zoom_c != 1.0):
        volume = torch.from_numpy(image_czyx[channel])[None, None]
        less = [max(1, round(side * float(zoom_c[channel]))) for side in size]
        small = functional.interpolate(volume, less, mode="nearest-exact")
        image_czyx[channel] = functional.interpolate(small, size, mode="trilinear")[0, 0].numpy()
    return image_czyx


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """The zoom of each channel, (c,)."""
    return np.where(uniform_3c[1] < PER_CHANNEL, between(uniform_3c[0], limits), 1.0)


def apply_on_device(image_bcshw: Tensor, zoom_bc: Array, _seeds: Seeds) -> Tensor:
    """Make slices smaller and larger again."""
    for index, channel in zip(*np.nonzero(zoom_bc != 1.0), strict=True):
        image_bcshw[index, channel] = _coarsened(image_bcshw[index, channel], float(zoom_bc[index, channel]))
    return image_bcshw


def _coarsened(image_shw: Tensor, zoom: float) -> Tensor:
    h, w = image_shw.shape[-2:]
    size = max(1, round(h * zoom)), max(1, round(w * zoom))
    small = functional.interpolate(image_shw[None], size, mode="nearest-exact")
    return functional.interpolate(small, (h, w), mode="bicubic", align_corners=False)[0]


LOW_RESOLUTION = Transform(
    neutral=1.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
    apply_to_volume=apply_to_volume,
)
