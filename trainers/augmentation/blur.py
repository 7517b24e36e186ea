"""Gaussian blur within slices, or of a volume; each channel by itself, or not at all."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from trainers.augmentation.transform import (
    PER_CHANNEL,
    Array,
    Limits,
    Seeds,
    Shape,
    Transform,
    between,
    moved,
)

TRUNCATE = 4.0  # scipy's: a kernel reaches this many sigmas


def draw(rng: np.random.RandomState, shape_cshw: Shape, limits: Limits) -> Array:
    """Sigma in pixels of each channel, (c,); 0 leaves it as it is."""
    sigma_c = np.zeros(shape_cshw[0])
    for channel in range(shape_cshw[0]):
        sigma = between(rng.random_sample(), limits)
        if rng.random_sample() < PER_CHANNEL:
            sigma_c[channel] = sigma
            rng.random_sample(shape_cshw[1])  # batchgenerators asks for every slice whether it is blurred
    return sigma_c


def apply(image_cshw: npt.NDArray[np.float32], sigma_c: Array) -> npt.NDArray[np.float32]:
    """Blur every slice of the channels that were chosen."""
    for channel in np.flatnonzero(sigma_c):
        for slice_hw in image_cshw[channel]:
            slice_hw[...] = gaussian_filter(slice_hw, float(sigma_c[channel]), order=0)
    return image_cshw


def apply_to_volume(image_czyx: npt.NDArray[np.float32], sigma_c: Array) -> npt.NDArray[np.float32]:
    """Blur the channels that were chosen, along all axes."""
    for channel in np.flatnonzero(sigma_c):
        image_czyx[channel] = gaussian_filter(image_czyx[channel], float(sigma_c[channel]), order=0)
    return image_czyx


def draw_for_device(uniform_3c: Array, limits: Limits) -> Array:
    """Sigma in pixels of each channel, (c,)."""
    return np.where(uniform_3c[1] < PER_CHANNEL, between(uniform_3c[0], limits), 0.0)


def apply_on_device(image_bcshw: Tensor, sigma_bc: Array, _seeds: Seeds) -> Tensor:
    """Blur the channels that were chosen, all at once, with kernels as wide as the widest of them."""
    chosen = np.nonzero(sigma_bc)
    if not len(chosen[0]):
        return image_bcshw
    picked_nshw, sigmas = image_bcshw[chosen], sigma_bc[chosen]
    reach = int(TRUNCATE * float(sigmas.max()) + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernels = np.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    kernels[np.abs(offsets) > (TRUNCATE * sigmas[:, None] + 0.5).astype(int)] = 0.0
    n, slices, h, w = picked_nshw.shape
    kernel = moved(kernels / kernels.sum(1, keepdims=True), image_bcshw)
    kernel = kernel.repeat_interleave(slices, 0)[:, None]
    flat = picked_nshw.reshape(1, n * slices, h, w)
    flat = functional.conv2d(_extended(flat, reach, -2), kernel[..., None], groups=n * slices)
    flat = functional.conv2d(_extended(flat, reach, -1), kernel[:, :, None], groups=n * slices)
    image_bcshw[chosen] = flat.view(n, slices, h, w)
    return image_bcshw


def _extended(image: Tensor, reach: int, axis: int) -> Tensor:
    """The image continued by its mirror image, edge pixel repeated (scipy's "reflect"), whatever its size."""
    size = image.shape[axis]
    position = torch.arange(-reach, size + reach, device=image.device) % (2 * size)
    return image.index_select(axis, torch.minimum(position, 2 * size - 1 - position))


BLUR = Transform(
    neutral=0.0,
    draw=draw,
    apply=apply,
    draw_for_device=draw_for_device,
    apply_on_device=apply_on_device,
    apply_to_volume=apply_to_volume,
)
