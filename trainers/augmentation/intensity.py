"""Intensity augmentation with batchgenerators' functions, replayable from one seed.

batchgenerators draws from NumPy's global generator; `seeded` hands it a state made from the sample's own seed
and puts the former state back, so that a sample depends on nothing but its seed.

Suffix: `image_cshw` channels, slices (1 for 2d), rows, columns: neighbouring slices of a channel are changed
alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from batchgenerators.augmentations.color_augmentations import (
    augment_brightness_multiplicative,
    augment_contrast,
    augment_gamma,
)
from batchgenerators.augmentations.noise_augmentations import augment_gaussian_blur, augment_gaussian_noise
from batchgenerators.augmentations.resample_augmentations import augment_linear_downsampling_scipy

from trainers.config import AugmentationConfig

PER_CHANNEL = 0.5  # nnU-Net: blur and low resolution touch each channel with this probability


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator, seeded with `seed` inside and as it was before afterwards."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def augment_intensity(
    image_chw: npt.NDArray[np.float32], channels: int, seed: int, config: AugmentationConfig
) -> npt.NDArray[np.float32]:
    """Noise, blur, brightness, contrast, low resolution and gamma in nnU-Net's order, with its probabilities.

    Args:
        image_chw: `channels` image channels of each slice, slice after slice; may be overwritten.
        seed: below 2**32; decides everything.
    """
    if not config.enabled:
        return image_chw
    image_cshw = np.ascontiguousarray(image_chw.reshape(-1, channels, *image_chw.shape[1:]).swapaxes(0, 1))
    with seeded(seed):
        image_cshw = _augment(image_cshw, np.random.random(7), config)  # noqa: NPY002
    return np.ascontiguousarray(image_cshw.swapaxes(0, 1).reshape(image_chw.shape), dtype=np.float32)


def _augment(
    image_cshw: npt.NDArray[np.float32], chance: npt.NDArray[np.float64], config: AugmentationConfig
) -> npt.NDArray[np.float32]:
    if chance[0] < config.noise_probability:
        variance = np.random.uniform(*config.noise_variance)  # noqa: NPY002
        image_cshw = augment_gaussian_noise(image_cshw, (variance, variance))
    if chance[1] < config.blur_probability:
        for slices_shw in image_cshw:
            sigma = np.random.uniform(*config.blur_sigma)  # noqa: NPY002
            if np.random.random() < PER_CHANNEL:  # noqa: NPY002
                slices_shw[...] = augment_gaussian_blur(slices_shw, (sigma, sigma), per_channel=False)
    if chance[2] < config.brightness_probability:
        image_cshw = augment_brightness_multiplicative(image_cshw, config.brightness_range)
    if chance[3] < config.contrast_probability:
        image_cshw = augment_contrast(image_cshw, config.contrast_range)
    if chance[4] < config.low_resolution_probability:
        image_cshw = augment_linear_downsampling_scipy(
            image_cshw,
            config.low_resolution_zoom,
            p_per_channel=PER_CHANNEL,
            order_downsample=0,
            order_upsample=3,
            ignore_axes=(0,),
        )
    if chance[5] < config.inverted_gamma_probability:
        image_cshw = augment_gamma(
            image_cshw, config.gamma_range, invert_image=True, per_channel=True, retain_stats=True
        )
    if chance[6] < config.gamma_probability:
        image_cshw = augment_gamma(
            image_cshw, config.gamma_range, invert_image=False, per_channel=True, retain_stats=True
        )
    return image_cshw
