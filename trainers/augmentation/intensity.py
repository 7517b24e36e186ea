"""Intensity augmentation of a sample: its transforms in turn, in the loader or on the training device.

Which transforms there are, how often each comes and within which range is what `AugmentationConfig` says, in
the order of its settings. On the device (for GPUs that the loader would starve) the arithmetic runs on the
whole batch at once; what happens to a sample is drawn on the CPU from its own seed. Rotation and scaling stay
with the loader, which reads slices there anyway.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from pkgutil import resolve_name
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from trainers.augmentation.transform import Array, Limits, Shape, Transform
from trainers.augmentation_config import AugmentationConfig

VOLUME_AXES = 5  # of a batch of patches of volumes
DRAWN_FIRST = 7  # their chances are drawn together; later transforms leave those as they were


@dataclass(frozen=True, slots=True)
class Step:
    """A transform with its probability and range."""

    transform: Transform
    probability: float
    limits: Limits


@lru_cache(maxsize=8)
def steps_of(config: AugmentationConfig) -> tuple[Step, ...]:
    """The transforms that the settings name, in order."""
    return tuple(
        Step(
            resolve_name(f"trainers.augmentation.{item.metadata['transform']}"),
            config.probability(item.name),
            getattr(config, item.metadata["limits"]),
        )
        for item in dataclasses.fields(config)
        if "transform" in item.metadata
    )


def draw_intensity(seed: int, shape_cshw: Shape, config: AugmentationConfig) -> list[tuple[Transform, Array]]:
    """What happens to one sample in the loader: transforms with their parameters.

    Args:
        seed: below 2**32; decides everything.
    """
    rng = np.random.RandomState(seed)
    steps = steps_of(config)
    chances = rng.random_sample(DRAWN_FIRST)
    drawn = []
    for number, step in enumerate(steps):
        chance = chances[number] if number < DRAWN_FIRST else rng.random_sample()
        if chance < step.probability:
            drawn.append((step.transform, step.transform.draw(rng, shape_cshw, step.limits)))
    return drawn


def augment_intensity(
    image_chw: npt.NDArray[np.float32], channels: int, seed: int, config: AugmentationConfig
) -> npt.NDArray[np.float32]:
    """One sample with its transforms applied, by default nnU-Net's in nnU-Net's order.

    Args:
        image_chw: `channels` image channels of each slice, slice after slice; may be overwritten.
        seed: below 2**32; decides everything.
    """
    if not config.enabled:
        return image_chw
    image_cshw = np.ascontiguousarray(image_chw.reshape(-1, channels, *image_chw.shape[1:]).swapaxes(0, 1))
    c, s, h, w = image_cshw.shape
    for transform, parameters in draw_intensity(seed, (c, s, h, w), config):
        image_cshw = transform.apply(image_cshw, parameters)
    return np.ascontiguousarray(image_cshw.swapaxes(0, 1).reshape(image_chw.shape), dtype=np.float32)


def augment_volume(
    image_czyx: npt.NDArray[np.float32], seed: int, config: AugmentationConfig, *, across: bool
) -> npt.NDArray[np.float32]:
    """A patch of a volume with its transforms applied.

    Args:
        image_czyx: may be overwritten.
        seed: below 2**32; decides everything.
        across: whether blur and low resolution reach across slices, or stay within, as where slices are far
            apart.
    """
    if not config.enabled:
        return image_czyx
    c, z, y, x = image_czyx.shape
    for transform, parameters in draw_intensity(seed, (c, z, y, x), config):
        apply = transform.apply_to_volume if across and transform.apply_to_volume else transform.apply
        image_czyx = apply(image_czyx, parameters)
    return np.ascontiguousarray(image_czyx, dtype=np.float32)


def draw_intensity_for_device(seed: int, channels: int, config: AugmentationConfig) -> list[Array]:
    """The parameters of every transform for one sample, (c,) or (c, …), neutral where it does not come.

    Always as many numbers are drawn, so that switching one off leaves the others as they were.
    """
    rng = np.random.default_rng(seed)
    chances, uniforms = rng.random(DRAWN_FIRST), rng.random((DRAWN_FIRST, 3, channels))
    drawn = []
    for number, step in enumerate(steps_of(config)):
        first = number < DRAWN_FIRST
        chance = chances[number] if first else rng.random()
        uniform_3c = uniforms[number] if first else rng.random((3, channels))
        parameters = step.transform.draw_for_device(uniform_3c, step.limits)
        if chance >= step.probability:
            parameters = np.full_like(parameters, step.transform.neutral)
        drawn.append(parameters)
    return drawn


def augment_intensity_batch(
    image_bchw: Tensor, channels: int, seeds: npt.NDArray[np.integer[Any]], config: AugmentationConfig
) -> Tensor:
    """A batch with the transforms of each sample applied, on any device: the loader's, from other numbers.

    Args:
        image_bchw: `channels` image channels of each slice, slice after slice; or (b, c, z, y, x), where blur
            and low resolution stay within slices; left as it is.
        seeds: one per sample; decides everything that happens to it, whatever the rest of the batch.
    """
    if not config.enabled:
        return image_bchw
    volumes, (h, w) = image_bchw.ndim == VOLUME_AXES, image_bchw.shape[-2:]
    image = image_bchw if volumes else image_bchw.view(len(seeds), -1, channels, h, w).transpose(1, 2)
    image = image.clone(memory_format=torch.contiguous_format)
    drawn = [draw_intensity_for_device(int(seed), channels, config) for seed in seeds]
    for step, parameters in zip(steps_of(config), zip(*drawn, strict=True), strict=True):
        batched = np.stack(parameters)
        if (batched != step.transform.neutral).any():
            image = step.transform.apply_on_device(image, batched, seeds)
    return image if volumes else image.transpose(1, 2).reshape(image_bchw.shape)
