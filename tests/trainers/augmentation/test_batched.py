"""Batched intensity augmentation against batchgenerators' functions, and as a function of the seeds alone."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from batchgenerators.augmentations.color_augmentations import augment_contrast, augment_gamma
from scipy import ndimage
from support.apple import MPS, PlayedApple
from support.waits import Waits, on_card

from balrsam_pipeline.network.live_bytes import LiveBytes
from balrsam_pipeline.network.step_memory import AUGMENTED_IMAGES
from trainers.augmentation.intensity import (
    augment_intensity,
    augment_intensity_batch,
    draw_intensity_for_device,
)
from trainers.augmentation.transform import moved, moved_places
from trainers.augmentation_config import AugmentationConfig

PROBABILITIES = [
    field.name for field in dataclasses.fields(AugmentationConfig) if field.name.endswith("_probability")
]
SEEDS = np.arange(6, dtype=np.uint32)
LOW_RESOLUTION = 4  # its place among the transforms


def only(name: str, **ranges: tuple[float, float]) -> AugmentationConfig:
    """One transform always, the others never."""
    return AugmentationConfig(**{**dict.fromkeys(PROBABILITIES, 0.0), f"{name}_probability": 1.0, **ranges})


def batch(channels: int = 2, slices: int = 3) -> torch.Tensor:
    return torch.from_numpy(
        np.random.default_rng(0).normal(size=(len(SEEDS), channels * slices, 24, 20)).astype(np.float32)
    )


def of_channel(image_chw: np.ndarray, channel: int, channels: int = 2) -> np.ndarray:
    """The slices of one image channel."""
    return image_chw.reshape(-1, channels, *image_chw.shape[1:])[:, channel]


def test_a_fixed_contrast_is_batchgenerators():
    changed = augment_intensity_batch(batch(), 2, SEEDS, only("contrast", contrast_range=(1.2, 1.2))).numpy()
    for sample, before in zip(changed, batch().numpy(), strict=True):
        for channel in range(2):
            expected = augment_contrast(of_channel(before, channel)[None].copy(), (1.2, 1.2))[0]
            np.testing.assert_allclose(of_channel(sample, channel), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["gamma", "inverted_gamma"])
def test_a_fixed_gamma_is_batchgenerators(name: str):
    changed = augment_intensity_batch(batch(), 2, SEEDS, only(name, gamma_range=(1.3, 1.3))).numpy()
    for sample, before in zip(changed, batch().numpy(), strict=True):
        for channel in range(2):
            whole = of_channel(before, channel)[None].copy()
            expected = augment_gamma(
                whole, (1.3, 1.3), invert_image=name != "gamma", per_channel=True, retain_stats=True
            )[0]
            np.testing.assert_allclose(of_channel(sample, channel), expected, atol=1e-4)


def test_a_fixed_blur_is_scipys_on_about_half_of_the_channels():
    changed = augment_intensity_batch(batch(), 2, SEEDS, only("blur", blur_sigma=(0.8, 0.8))).numpy()
    blurred = 0
    for sample, before in zip(changed, batch().numpy(), strict=True):
        for channel in range(2):
            ours, plain = of_channel(sample, channel), of_channel(before, channel)
            expected = np.stack([ndimage.gaussian_filter(plane, 0.8) for plane in plain])
            blurred += np.allclose(ours, expected, atol=1e-5)
            assert np.allclose(ours, expected, atol=1e-5) or np.array_equal(ours, plain)
    assert 0 < blurred < 12


def test_low_resolution_is_close_to_batchgenerators_on_a_smooth_image():
    smooth = torch.from_numpy(ndimage.gaussian_filter(batch(1, 1).numpy(), (0, 0, 3, 3)) * 10)
    config = only("low_resolution", low_resolution_zoom=(0.5, 0.5))
    changed = augment_intensity_batch(smooth, 1, SEEDS, config)
    drawn = [float(draw_intensity_for_device(int(seed), 1, config)[LOW_RESOLUTION][0]) for seed in SEEDS]
    assert set(drawn) == {0.5, 1.0}
    for after, before, zoom in zip(changed, smooth, drawn, strict=True):
        difference = (after - before).abs().max() / before.std()
        assert (0.01 < difference < 0.8) if zoom != 1.0 else difference == 0


def test_noise_and_brightness_have_the_spread_that_was_drawn():
    noisy = augment_intensity_batch(
        torch.zeros(len(SEEDS), 1, 200, 200), 1, SEEDS, only("noise", noise_variance=(0.05, 0.05))
    )
    assert noisy.std().item() == pytest.approx(0.05, rel=0.02)
    brighter = augment_intensity_batch(batch(), 2, SEEDS, only("brightness", brightness_range=(1.1, 1.1)))
    torch.testing.assert_close(brighter, batch() * 1.1)


def test_a_sample_depends_on_its_own_seed_alone():
    always = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 1.0))
    whole = augment_intensity_batch(batch(), 2, SEEDS, always)
    for order in (SEEDS[::-1].copy(), SEEDS[2:4]):
        torch.testing.assert_close(
            augment_intensity_batch(batch()[order.astype(int)], 2, order, always), whole[order.astype(int)]
        )


def test_the_image_that_was_given_stays_as_it_was():
    always, image = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 1.0)), batch(1, 1)
    augment_intensity_batch(image, 1, SEEDS, always)
    torch.testing.assert_close(image, batch(1, 1), rtol=0, atol=0)


def test_transforms_come_as_often_and_as_strong_as_in_the_loader():
    """Mean absolute change over many samples, each transform alone, against the NumPy form."""
    generator = np.random.default_rng(1)
    images = (
        ndimage.gaussian_filter(generator.normal(size=(400, 1, 16, 16)), (0, 0, 1, 1)).astype(np.float32) * 3
    )
    seeds = np.arange(400, dtype=np.uint32)
    for name in ("noise", "blur", "brightness", "contrast", "low_resolution", "inverted_gamma", "gamma"):
        config = only(name)
        ours = augment_intensity_batch(torch.from_numpy(images), 1, seeds, config).numpy()
        theirs = np.stack(
            [
                augment_intensity(image.copy(), 1, int(seed), config)
                for image, seed in zip(images, seeds, strict=True)
            ]
        )
        found, expected = np.abs(ours - images).mean(), np.abs(theirs - images).mean()
        assert found == pytest.approx(expected, rel=0.2), name


def test_on_a_card_nothing_of_it_is_waited_for():
    always = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 1.0), bias_field_strength=(0.5, 1.0))
    config = dataclasses.replace(always, noise_probability=0.0)  # its generator needs a real card
    with Waits() as waits:
        augmented = augment_intensity_batch(on_card(batch()), 2, SEEDS, config)
    assert augmented.shape == batch().shape
    assert waits.found == []


def test_on_an_apple_gpu_parameters_are_there_before_their_memory_goes():
    with PlayedApple() as apple:
        moved(np.ones(3), SimpleNamespace(dtype=torch.float32, device=MPS))
        moved_places(np.arange(3), MPS)
    assert apple.ahead == [False, False]


def test_what_is_alive_at_once_is_what_the_memory_model_counts():
    always, image = AugmentationConfig(**dict.fromkeys(PROBABILITIES, 1.0)), batch()
    with LiveBytes([image]) as live:
        augment_intensity_batch(image, 2, SEEDS, always)
    assert live.peak == pytest.approx(AUGMENTED_IMAGES * image.nbytes, rel=0.01)
