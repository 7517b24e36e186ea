"""Gamma that keeps each channel's mean and spread, of the image or (`INVERTED_GAMMA`) of its negative."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.augmentation.transform import Array, Limits, Seeds, Shape, Transform, beside, either_side

EPSILON = 1e-7  # nnU-Net's, against a channel of one value
SPREAD_EPSILON = 1e-8


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """The exponent of each channel, (c,); below or above 1 with equal chance."""
    side_c, position_c = rng.random_sample((shape_cshw[0], 2)).T
    return either_side(side_c, position_c, limits)


def apply(image_cshw: npt.NDArray[np.float32], gamma_c: Array) -> npt.NDArray[np.float32]:
    """Raise every channel, brought to the range 0 to 1, to its exponent."""
    for channel_shw, gamma in zip(image_cshw, gamma_c.tolist(), strict=True):
        mean, spread, low = channel_shw.mean(), channel_shw.std(), channel_shw.min()
        reach = float(channel_shw.max() - low + EPSILON)
        changed = np.power((channel_shw - low) / reach, gamma) * reach + low
        changed = changed - changed.mean()
        channel_shw[...] = changed / (changed.std() + SPREAD_EPSILON) * spread + mean
    return image_cshw


def apply_inverted(image_cshw: npt.NDArray[np.float32], gamma_c: Array) -> npt.NDArray[np.float32]:
    """The same on the negative."""
    return -apply(-image_cshw, gamma_c)


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """The exponent of each channel, (c,)."""
    return either_side(uniform_3c[1], uniform_3c[0], limits)


def apply_on_device(image_bcshw: Tensor, gamma_bc: Array, _seeds: Seeds) -> Tensor:
    """Raise every channel to its exponent; an exponent of 1 leaves it as it is."""
    axes, gamma = (2, 3, 4), beside(gamma_bc, image_bcshw)
    low = image_bcshw.amin(axes, keepdim=True)
    reach = image_bcshw.amax(axes, keepdim=True) - low + EPSILON
    changed = ((image_bcshw - low) / reach).pow(gamma) * reach + low
    changed = changed - changed.mean(axes, keepdim=True)
    spread = image_bcshw.std(axes, keepdim=True, correction=0)
    changed = changed / (changed.std(axes, keepdim=True, correction=0) + SPREAD_EPSILON) * spread
    return torch.where(gamma == 1.0, image_bcshw, changed + image_bcshw.mean(axes, keepdim=True))


def apply_inverted_on_device(image_bcshw: Tensor, gamma_bc: Array, seeds: Seeds) -> Tensor:
    """The same on the negative."""
    return -apply_on_device(-image_bcshw, gamma_bc, seeds)


GAMMA = Transform(
    neutral=1.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
)
INVERTED_GAMMA = dataclasses.replace(GAMMA, apply=apply_inverted, apply_on_device=apply_inverted_on_device)
