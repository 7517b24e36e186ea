"""Low resolution: slices made smaller with the nearest pixel and larger again with cubic splines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.transform import resize
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
    shape_shw = np.array(image_cshw.shape[1:])
    for channel in np.flatnonzero(zoom_c != 1.0):
        small = np.round(shape_shw * zoom_c[channel]).astype(int)
        small[0] = shape_shw[0]
        volume = image_cshw[channel].astype(float)
        for shape, order in ((small, 0), (shape_shw, 3)):
            volume = resize(volume, shape, order=order, mode="edge", anti_aliasing=False)
        image_cshw[channel] = volume
    return image_cshw


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """The zoom of each channel, (c,)."""
    return np.where(uniform_3c[1] < PER_CHANNEL, between(uniform_3c[0], limits), 1.0)


def apply_on_device(image_bcshw: Tensor, zoom_bc: Array, _seeds: Seeds) -> Tensor:
    """Make slices smaller and larger again; torch has cubic convolution where scipy has splines."""
    h, w = image_bcshw.shape[-2:]
    for index, channel in zip(*np.nonzero(zoom_bc != 1.0), strict=True):
        zoom = float(zoom_bc[index, channel])
        size = max(1, round(h * zoom)), max(1, round(w * zoom))
        small = functional.interpolate(image_bcshw[index, channel][None], size, mode="nearest-exact")
        large = functional.interpolate(small, (h, w), mode="bicubic", align_corners=False)
        image_bcshw[index, channel] = large[0]
    return image_bcshw


LOW_RESOLUTION = Transform(
    neutral=1.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
)
