from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from batchgenerators.augmentations.color_augmentations import (
    augment_brightness_multiplicative,
    augment_contrast,
    augment_gamma,
)
from batchgenerators.augmentations.noise_augmentations import augment_gaussian_blur, augment_gaussian_noise

from trainers.augmentation.intensity import augment_intensity
from trainers.augmentation_config import AugmentationConfig

PROBABILITIES = [
    field.name for field in dataclasses.fields(AugmentationConfig) if field.name.endswith("_probability")
]
# low resolution is enlarged in another way (test_batched.py compares it)
NNUNETS = ("noise", "blur", "brightness", "contrast", "inverted_gamma", "gamma")
ALWAYS = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 1.0))


def nnunets(image_cshw, config):
    """The transforms in nnU-Net's order with batchgenerators' functions, which draw from NumPy's state."""
    chance = np.random.random(7)  # noqa: NPY002
    if chance[0] < config.noise_probability:
        variance = np.random.uniform(*config.noise_variance)  # noqa: NPY002
        image_cshw = augment_gaussian_noise(image_cshw, (variance, variance))
    for slices_shw in image_cshw if chance[1] < config.blur_probability else ():
        sigma = np.random.uniform(*config.blur_sigma)  # noqa: NPY002
        if np.random.random() < 0.5:  # noqa: NPY002
            slices_shw[...] = augment_gaussian_blur(slices_shw, (sigma, sigma), per_channel=False)
    if chance[2] < config.brightness_probability:
        image_cshw = augment_brightness_multiplicative(image_cshw, config.brightness_range)
    if chance[3] < config.contrast_probability:
        image_cshw = augment_contrast(image_cshw, config.contrast_range)
    for number, inverted in ((5, True), (6, False)):
        probability = config.inverted_gamma_probability if inverted else config.gamma_probability
        if chance[number] < probability:
            image_cshw = augment_gamma(
                image_cshw, config.gamma_range, invert_image=inverted, per_channel=True, retain_stats=True
            )
    return image_cshw


@pytest.mark.parametrize("probability", [1.0, 0.5])
@pytest.mark.parametrize(("channels", "slices"), [(1, 1), (2, 3)])
def test_samples_are_batchgenerators_to_the_bit(probability, channels, slices):
    config = AugmentationConfig(
        **{f"{name}_probability": probability for name in NNUNETS}, low_resolution_probability=0.0
    )
    for seed in range(12):
        before = image(channels, slices)
        np.random.seed(seed)  # noqa: NPY002
        cshw = np.ascontiguousarray(before.copy().reshape(slices, channels, 24, 20).swapaxes(0, 1))
        expected = nnunets(cshw, config).swapaxes(0, 1).reshape(before.shape)
        np.testing.assert_array_equal(augment_intensity(before.copy(), channels, seed, config), expected)


def image(channels=2, slices=3):
    return np.random.default_rng(0).normal(size=(channels * slices, 24, 20)).astype(np.float32)


def test_the_same_seed_replays_the_same_picture_whatever_numpys_state():
    np.random.seed(1)  # noqa: NPY002
    first = augment_intensity(image(), 2, 42, ALWAYS)
    np.random.seed(2)  # noqa: NPY002
    second = augment_intensity(image(), 2, 42, ALWAYS)
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - augment_intensity(image(), 2, 43, ALWAYS)).max() > 0.01


def test_numpys_global_generator_is_left_as_it_was():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    augment_intensity(image(), 2, 42, ALWAYS)
    np.testing.assert_array_equal(np.random.random(3), expected)  # noqa: NPY002


def test_neighbouring_slices_of_a_channel_are_changed_alike():
    off = {
        field.name: 0.0
        for field in dataclasses.fields(AugmentationConfig)
        if field.name.endswith("_probability")
    }
    chosen = {"brightness_probability": 1.0, "blur_probability": 1.0, "low_resolution_probability": 1.0}
    config = AugmentationConfig(**(off | chosen))
    same = np.tile(image(channels=2, slices=1), (3, 1, 1))
    changed = augment_intensity(same.copy(), 2, 7, config)
    np.testing.assert_allclose(changed[:2], changed[2:4], atol=1e-5)
    np.testing.assert_allclose(changed[:2], changed[4:], atol=1e-5)
    assert np.abs(changed - same).max() > 0.01


def test_every_transform_together_keeps_shape_dtype_and_finite_values():
    for seed in range(20):
        changed = augment_intensity(image(), 2, seed, ALWAYS)
        assert changed.shape == (6, 24, 20) and changed.dtype == np.float32
        assert np.isfinite(changed).all()


def test_a_constant_image_stays_finite():
    changed = augment_intensity(np.zeros((1, 16, 16), np.float32), 1, 3, ALWAYS)
    assert np.isfinite(changed).all()


def test_switched_off_it_returns_the_image():
    picture = image()
    np.testing.assert_array_equal(
        augment_intensity(picture.copy(), 2, 0, AugmentationConfig(enabled=False)), picture
    )
