"""Batches in order of the step: made here, or ahead of time by worker processes (see workers.py); both give
the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from trainers.data.kept_features import KeptFeatures
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sample, Sampler


@dataclass(frozen=True, slots=True)
class Batch:
    """Patches (batch, channels, height, width) float32, their labels (batch, height, width) int16, and a seed
    each for intensities. Patches of volumes have a depth before the height.

    `features` are what the encoder's frozen part made of them, (batch, y, x, channels) each, in the order of
    `balrsam_pipeline.network.Features`; empty where the encoder runs in the step.
    """

    image_bchw: npt.NDArray[np.float32]
    label_bhw: npt.NDArray[np.int16]
    seeds: npt.NDArray[np.uint32]
    features: tuple[Tensor, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchSource:
    """Makes the batch of any step: the whole of it, or the share of one rank of several."""

    sampler: Sampler
    reader: PatchReader
    batch_size: int
    rank: int = 0
    world_size: int = 1
    features: KeptFeatures | None = None

    def samples(self, step: int) -> tuple[Sample, ...]:
        """The samples of this rank at `step`; ranks take every `world_size`-th, so sizes may differ by
        one."""
        epoch, position = divmod(step, self.sampler.config.steps_per_epoch)
        first = position * self.batch_size
        return tuple(
            self.sampler.draw(epoch, first + offset)
            for offset in range(self.rank, self.batch_size, self.world_size)
        )

    def make(self, step: int) -> Batch:
        """The batch of `step`."""
        samples = self.samples(step)
        if self.features is not None:
            samples = tuple(map(self.features.shown, samples))
        patches = [self.reader.read(sample) for sample in samples]
        seeds = np.array([sample.intensity_seed or 0 for sample in samples], np.uint32)
        return Batch(
            np.stack([image for image, _ in patches]),
            np.stack([label for _, label in patches]),
            seeds,
            () if self.features is None else self.features.stacked(samples),
        )

    def describe(self, step: int) -> str:
        """The slices that the batch of `step` shows, in words, for messages."""
        return ", ".join(f"{sample.case} slice {sample.slice_index}" for sample in self.samples(step))


class BatchLoader(Protocol):
    """What the trainer draws batches from."""

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Batches of `first_step`, `first_step` + 1, … without end."""

    def describe(self, step: int) -> str:
        """What the batch of `step` shows, in words."""

    def close(self) -> None:
        """Give back processes and memory."""


class InlineLoader:
    """Makes every batch when it is asked for, in this process."""

    def __init__(self, source: BatchSource) -> None:
        self._source = source

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Batches of `first_step`, `first_step` + 1, … without end."""
        step = first_step
        while True:
            yield self._source.make(step)
            step += 1

    def describe(self, step: int) -> str:
        """What the batch of `step` shows, in words."""
        return self._source.describe(step)

    def close(self) -> None:
        """There are no processes to end."""
        return
