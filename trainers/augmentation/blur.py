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
    moved_places,
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
    chosen = np.flatnonzero(sigma_bc)
    if not len(chosen):
        return image_bcshw
    slices, h, w = image_bcshw.shape[2:]
    place, sigmas = moved_places(chosen, image_bcshw.device), sigma_bc.reshape(-1)[chosen]
    flat_bshw = image_bcshw.reshape(-1, slices, h, w)
    reach = int(TRUNCATE * float(sigmas.max()) + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernels = np.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    kernels[np.abs(offsets) > (TRUNCATE * sigmas[:, None] + 0.5).astype(int)] = 0.0
    kernel = moved(kernels / kernels.sum(1, keepdims=True), image_bcshw)
    kernel = kernel.repeat_interleave(slices, 0)[:, None]
    groups = len(chosen) * slices
    blurred = flat_bshw.index_select(0, place).reshape(1, groups, h, w)
    blurred = functional.conv2d(_extended(blurred, reach, -2), kernel[..., None], groups=groups)
    blurred = functional.conv2d(_extended(blurred, reach, -1), kernel[:, :, None], groups=groups)
    return flat_bshw.index_copy(0, place, blurred.view(-1, slices, h, w)).view(image_bcshw.shape)


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
