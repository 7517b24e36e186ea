"""Contrast: intensities spread about the channel's mean, within the range that they had."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.augmentation.transform import Array, Limits, Seeds, Shape, Transform, beside, either_side


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """The factor of each channel, (c,); below or above 1 with equal chance."""
    # batchgenerators asks for every channel first whether it is changed; it always is
    _, side_c, position_c = rng.random_sample((shape_cshw[0], 3)).T
    return either_side(side_c, position_c, limits)


def apply(image_cshw: npt.NDArray[np.float32], factor_c: Array) -> npt.NDArray[np.float32]:
    """Spread every channel by its factor."""
    for channel_shw, factor in zip(image_cshw, factor_c.tolist(), strict=True):
        mean, low, high = channel_shw.mean(), channel_shw.min(), channel_shw.max()
        channel_shw[...] = ((channel_shw - mean) * factor + mean).clip(low, high)
    return image_cshw


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """The factor of each channel, (c,)."""
    return either_side(uniform_3c[1], uniform_3c[0], limits)


def apply_on_device(image_bcshw: Tensor, factor_bc: Array, _seeds: Seeds) -> Tensor:
    """Spread every channel by its factor; a factor of 1 leaves it as it is."""
    axes, factor = (2, 3, 4), beside(factor_bc, image_bcshw)
    mean = image_bcshw.mean(axes, keepdim=True)
    low, high = image_bcshw.amin(axes, keepdim=True), image_bcshw.amax(axes, keepdim=True)
    return torch.where(factor == 1.0, image_bcshw, ((image_bcshw - mean) * factor + mean).clamp(low, high))


CONTRAST = Transform(
    neutral=1.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
)
