"""Brightness: each channel times a factor."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from trainers.augmentation.transform import Array, Limits, Seeds, Shape, Transform, beside, between


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """The factor of each channel, (c,)."""
    rng.random_sample()  # batchgenerators draws a factor for all channels too, and does not use it
    return np.asarray(between(rng.random_sample(shape_cshw[0]), limits))


def apply(image_cshw: npt.NDArray[np.float32], factor_c: Array) -> npt.NDArray[np.float32]:
    """Multiply every channel by its factor."""
    for channel_shw, factor in zip(image_cshw, factor_c.tolist(), strict=True):
        channel_shw *= factor
    return image_cshw


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """The factor of each channel, (c,)."""
    return np.asarray(between(uniform_3c[0], limits))


def apply_on_device(image_bcshw: Tensor, factor_bc: Array, _seeds: Seeds) -> Tensor:
    """Multiply every channel by its factor."""
    return image_bcshw * beside(factor_bc, image_bcshw)


BRIGHTNESS = Transform(
    neutral=1.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
)
