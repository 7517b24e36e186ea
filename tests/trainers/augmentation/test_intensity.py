from __future__ import annotations

import dataclasses

import numpy as np

from trainers.augmentation.intensity import augment_intensity
from trainers.config import AugmentationConfig

ALWAYS = AugmentationConfig(
    **{
        field.name: 1.0
        for field in dataclasses.fields(AugmentationConfig)
        if field.name.endswith("_probability")
    }
)


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
