"""Intensity augmentation of a whole batch on the training device: `intensity.py`'s transforms and
distribution, other random bits.

For GPUs whose loader would starve them. What happens to a sample is drawn on the CPU from the sample's own
seed; only the arithmetic runs on the device, on the whole batch at once. Rotation and scaling stay with the
loader, which reads slices there anyway.

Suffixes: `b` batch, `c` image channels, `s` slices (1 for 2d), `h` rows, `w` columns: `image_bcshw`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from trainers.augmentation.intensity import PER_CHANNEL
from trainers.config import AugmentationConfig

Factors = npt.NDArray[np.float64]
BLUR_TRUNCATE = 4.0  # scipy's: a kernel reaches this many sigmas
EPSILON = 1e-7  # batchgenerators'


@dataclass(frozen=True, slots=True)
class Draws:
    """What happens to each channel (c,) of one sample; 0 for noise and blur, and 1 for the others, leave it
    as it is."""

    noise: Factors
    blur: Factors
    brightness: Factors
    contrast: Factors
    zoom: Factors
    inverted_gamma: Factors
    gamma: Factors


def draw_intensity(seed: int, channels: int, config: AugmentationConfig) -> Draws:
    """Draw every transform of a sample; always as many numbers, so that switching one off leaves the others
    as they were."""
    rng = np.random.default_rng(seed)
    chance, each = rng.random(7), rng.random((7, 3, channels))
    low, high = config.blur_sigma
    zoom_low, zoom_high = config.low_resolution_zoom
    noise_low, noise_high = config.noise_variance
    dark, bright = config.brightness_range
    return Draws(
        noise=_where(
            chance[0] < config.noise_probability,
            np.full(channels, noise_low + each[0, 0, 0] * (noise_high - noise_low)),
            0.0,
        ),
        blur=_where(
            (chance[1] < config.blur_probability) & (each[1, 1] < PER_CHANNEL),
            low + each[1, 0] * (high - low),
            0.0,
        ),
        brightness=_where(
            chance[2] < config.brightness_probability, dark + each[2, 0] * (bright - dark), 1.0
        ),
        contrast=_where(
            chance[3] < config.contrast_probability, _either_side(each[3], config.contrast_range), 1.0
        ),
        zoom=_where(
            (chance[4] < config.low_resolution_probability) & (each[4, 1] < PER_CHANNEL),
            zoom_low + each[4, 0] * (zoom_high - zoom_low),
            1.0,
        ),
        inverted_gamma=_where(
            chance[5] < config.inverted_gamma_probability, _either_side(each[5], config.gamma_range), 1.0
        ),
        gamma=_where(chance[6] < config.gamma_probability, _either_side(each[6], config.gamma_range), 1.0),
    )


def augment_intensity_batch(
    image_bchw: Tensor, channels: int, seeds: npt.NDArray[np.integer[Any]], config: AugmentationConfig
) -> Tensor:
    """The batch with nnU-Net's noise, blur, brightness, contrast, low resolution and gamma, in this order.

    Args:
        image_bchw: `channels` image channels of each slice, slice after slice, on any device; left as it is.
        seeds: one a sample; decides everything that happens to it, whatever the rest of the batch.
    """
    if not config.enabled:
        return image_bchw
    b, both, h, w = image_bchw.shape
    image = (
        image_bchw.view(b, both // channels, channels, h, w)
        .transpose(1, 2)
        .clone(memory_format=torch.contiguous_format)
    )
    drawn = [draw_intensity(int(seed), channels, config) for seed in seeds]
    draws = Draws(*(np.stack([getattr(sample, item.name) for sample in drawn]) for item in fields(Draws)))
    image = _noise(image, draws.noise[:, 0], seeds)
    image = _blur(image, draws.blur)
    image = image * _as_tensor(draws.brightness, image)
    image = _contrast(image, _as_tensor(draws.contrast, image))
    image = _low_resolution(image, draws.zoom)
    image = -_gamma(-image, _as_tensor(draws.inverted_gamma, image))
    image = _gamma(image, _as_tensor(draws.gamma, image))
    return image.transpose(1, 2).reshape(b, both, h, w)


def _where(condition: npt.ArrayLike, values: Factors, otherwise: float) -> Factors:
    return np.asarray(np.where(np.asarray(condition), values, otherwise), dtype=np.float64)


def _either_side(uniform: Factors, limits: tuple[float, float]) -> Factors:
    """Below or above 1 with equal chance, uniform within each. Source: batchgenerators' contrast and
    gamma."""
    low, high = limits
    below = low + uniform[0] * (min(high, 1.0) - low)
    above = max(low, 1.0) + uniform[0] * (high - max(low, 1.0))
    return np.asarray(np.where((uniform[1] < 0.5) & (low < 1), below, above), dtype=np.float64)


def _as_tensor(factors_bc: Factors, image_bcshw: Tensor) -> Tensor:
    """(b, c) -> (b, c, 1, 1, 1) beside the image."""
    return torch.from_numpy(factors_bc).to(image_bcshw)[:, :, None, None, None]


def _noise(image_bcshw: Tensor, spread_b: Factors, seeds: npt.NDArray[np.integer[Any]]) -> Tensor:
    for index in np.flatnonzero(spread_b):
        generator = torch.Generator(image_bcshw.device).manual_seed(int(seeds[index]))
        noise = torch.randn(
            image_bcshw.shape[1:], generator=generator, device=image_bcshw.device, dtype=image_bcshw.dtype
        )
        image_bcshw[index] += float(spread_b[index]) * noise
    return image_bcshw


def _blur(image_bcshw: Tensor, sigma_bc: Factors) -> Tensor:
    chosen = np.nonzero(sigma_bc)
    if not len(chosen[0]):
        return image_bcshw
    picked_nshw, sigmas = image_bcshw[chosen], sigma_bc[chosen]
    reach = int(BLUR_TRUNCATE * float(sigmas.max()) + 0.5)
    offsets = np.arange(-reach, reach + 1)
    kernels = np.exp(-0.5 * (offsets / sigmas[:, None]) ** 2)
    kernels[np.abs(offsets) > (BLUR_TRUNCATE * sigmas[:, None] + 0.5).astype(int)] = 0.0
    n, slices, h, w = picked_nshw.shape
    kernel = (
        torch.from_numpy(kernels / kernels.sum(1, keepdims=True))
        .to(image_bcshw)
        .repeat_interleave(slices, 0)[:, None]
    )
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


def _contrast(image_bcshw: Tensor, factor: Tensor) -> Tensor:
    axes = (2, 3, 4)
    mean, low, high = (
        image_bcshw.mean(axes, keepdim=True),
        image_bcshw.amin(axes, keepdim=True),
        image_bcshw.amax(axes, keepdim=True),
    )
    return torch.where(factor == 1.0, image_bcshw, ((image_bcshw - mean) * factor + mean).clamp(low, high))


def _low_resolution(image_bcshw: Tensor, zoom_bc: Factors) -> Tensor:
    h, w = image_bcshw.shape[-2:]
    for index, channel in zip(*np.nonzero(zoom_bc != 1.0), strict=True):
        zoom = float(zoom_bc[index, channel])
        small = functional.interpolate(
            image_bcshw[index, channel][None],
            (max(1, round(h * zoom)), max(1, round(w * zoom))),
            mode="nearest-exact",
        )
        image_bcshw[index, channel] = functional.interpolate(
            small, (h, w), mode="bicubic", align_corners=False
        )[0]
    return image_bcshw


def _gamma(image_bcshw: Tensor, gamma: Tensor) -> Tensor:
    """Gamma that keeps each channel's mean and spread; a gamma of 1 leaves the channel as it is."""
    axes = (2, 3, 4)
    low = image_bcshw.amin(axes, keepdim=True)
    reach = image_bcshw.amax(axes, keepdim=True) - low
    changed = ((image_bcshw - low) / (reach + EPSILON)).pow(gamma) * (reach + EPSILON) + low
    changed = changed - changed.mean(axes, keepdim=True)
    spread = image_bcshw.std(axes, keepdim=True, correction=0)
    changed = changed / (changed.std(axes, keepdim=True, correction=0) + 1e-8) * spread + image_bcshw.mean(
        axes, keepdim=True
    )
    return torch.where(gamma == 1.0, image_bcshw, changed)
