"""Gaussian noise, of one spread for all channels of a sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.augmentation.transform import Array, Limits, Seeds, Shape, Transform, between


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """The noise itself, (c, s, h, w); its spread is uniform in the range."""
    spread = between(rng.random_sample(), limits)
    noise_cshw = np.empty(shape_cshw)
    for channel_shw in noise_cshw:
        rng.random_sample()  # batchgenerators asks here whether the channel is changed; it always is
        channel_shw[...] = rng.normal(0.0, spread, size=channel_shw.shape)
    return noise_cshw


def apply(image_cshw: npt.NDArray[np.float32], noise_cshw: Array) -> npt.NDArray[np.float32]:
    """Add the noise."""
    return (image_cshw + noise_cshw).astype(np.float32)


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """The spread, (c,), the same for every channel."""
    return np.full(uniform_3c.shape[1], between(uniform_3c[0, 0], limits))


def apply_on_device(image_bcshw: Tensor, spread_bc: Array, seeds: Seeds) -> Tensor:
    """Add noise that is drawn on the device, from each sample's seed."""
    for index in np.flatnonzero(spread_bc[:, 0]):
        generator = torch.Generator(image_bcshw.device).manual_seed(int(seeds[index]))
        noise = torch.randn(
            image_bcshw.shape[1:], generator=generator, device=image_bcshw.device, dtype=image_bcshw.dtype
        )
        image_bcshw[index] += float(spread_bc[index, 0]) * noise
    return image_bcshw


NOISE = Transform(
    neutral=0.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
)
