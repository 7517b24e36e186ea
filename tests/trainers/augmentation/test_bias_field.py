"""The bias field of MR coils: a known point and strength, and the two places that apply it."""

from __future__ import annotations

import math

import numpy as np
import torch

from trainers.augmentation.bias_field import BIAS_FIELD, apply, apply_on_device
from trainers.augmentation.intensity import augment_intensity, augment_intensity_batch
from trainers.augmentation_config import AugmentationConfig

NNUNETS = ("noise", "blur", "brightness", "contrast", "low_resolution", "inverted_gamma", "gamma")
ALONE = AugmentationConfig(**{f"{name}_probability": 0.0 for name in NNUNETS}, bias_field_probability=1.0)


def test_a_field_from_one_corner_fades_to_the_other_by_its_strength():
    image = np.full((1, 1, 21, 31), 3.0, np.float32)
    image[0, 0, 10, 15] = 0.0  # the smallest intensity, which stays
    faded = apply(image, np.array([[2.0, -1.0, -1.0]]))[0, 0]
    assert math.isclose(faded[0, 0] / faded[-1, -1], math.exp(2.0), rel_tol=1e-5)
    assert faded[10, 15] == 0.0 and abs(faded.mean() / image.mean() - 1) < 0.01


def test_the_device_applies_what_the_loader_applies():
    image = np.random.default_rng(0).normal(size=(2, 3, 24, 20)).astype(np.float32)
    drawn = BIAS_FIELD.draw_for_device(np.random.default_rng(1).random((3, 2)), (0.5, 1.5))
    on_device = apply_on_device(torch.from_numpy(image)[None], drawn[None], np.zeros(1, np.uint32))[0]
    np.testing.assert_allclose(on_device.numpy(), apply(image.copy(), drawn), atol=1e-5)


def test_neighbouring_slices_fade_alike_and_zero_strength_changes_nothing():
    same = np.tile(np.random.default_rng(0).normal(size=(1, 1, 24, 20)).astype(np.float32), (1, 3, 1, 1))
    faded = apply(same.copy(), np.array([[1.0, 0.2, -0.7]]))
    np.testing.assert_allclose(faded[0, 0], faded[0, 2], atol=1e-6)
    assert np.abs(faded - same).max() > 0.05
    np.testing.assert_array_equal(apply(same.copy(), np.array([[0.0, 0.2, -0.7]])), same)


def test_it_comes_after_the_others_and_leaves_their_numbers_as_they_were():
    image = np.random.default_rng(0).normal(size=(2, 24, 20)).astype(np.float32)
    for seed in range(8):
        without = augment_intensity(image.copy(), 2, seed, AugmentationConfig())
        never = augment_intensity(image.copy(), 2, seed, AugmentationConfig(bias_field_strength=(1.0, 2.0)))
        np.testing.assert_array_equal(without, never)
    changed = augment_intensity(image.copy(), 2, 3, ALONE)
    assert changed.shape == image.shape and np.abs(changed - image).max() > 0.01
    batch = augment_intensity_batch(torch.from_numpy(image)[None], 2, np.array([3]), ALONE)
    assert np.abs(batch[0].numpy() - image).max() > 0.01
