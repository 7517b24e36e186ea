"""From a sample to pixels: the slice is read from the case store (small datasets are kept in memory) and
augmented.

Suffixes: `image_chw` channels (slices-major for 2.5d), `label_hw` integer labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.plan import Configuration
from trainers.augmentation import (
    ANISOTROPIC,
    Geometry3d,
    augment_intensity,
    augment_own,
    augment_volume,
    cut_patch,
    cut_surroundings,
    cut_volume,
)
from trainers.augmentation_config import AugmentationConfig
from trainers.data.sampling import Sample, in_plane_axes


class SliceSource(Protocol):
    """What patches are read from; `balrsam_pipeline.preprocessing.CaseStore` is one."""

    def read_slice(self, case: str, index: int, context: int = 0, axis: int = 0) -> npt.NDArray[np.float32]:
        """A slice with `context` neighbours on each side, (channels x slices, height, width),
        slices-major."""

    def read_label_slice(self, case: str, index: int, axis: int = 0) -> npt.NDArray[np.int16]:
        """The labels of a slice, (height, width)."""

    def read_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        """A box of a case, (channel, z, y, x)."""

    def read_label_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.int16]:
        """The labels of a box, (z, y, x)."""

    def read_image(self, case: str) -> npt.NDArray[np.float32]:
        """The whole case, (channel, z, y, x)."""

    def shape(self, case: str) -> tuple[int, int, int]:
        """The preprocessed shape of a case, (z, y, x)."""

    def foreground(self, case: str) -> Mapping[str, npt.NDArray[np.int32]]:
        """For each label of a case some of its voxels, (n, 3)."""

    def annotated(self, case: str) -> npt.NDArray[np.int32] | None:
        """Some voxels (n, 3) that somebody annotated; None where nothing carries the ignore label."""


class CachedSource:
    """A slice source that keeps whole cases in memory after their first use, for datasets that fit."""

    def __init__(self, source: SliceSource) -> None:
        self._source = source
        self._images: dict[str, npt.NDArray[np.float32]] = {}
        self._labels: dict[str, npt.NDArray[np.int16]] = {}
        self._foreground: dict[str, Mapping[str, npt.NDArray[np.int32]]] = {}
        self._annotated: dict[str, npt.NDArray[np.int32] | None] = {}

    def read_slice(self, case: str, index: int, context: int = 0, axis: int = 0) -> npt.NDArray[np.float32]:
        """A slice with `context` neighbours on each side, edge slices repeated where they are missing."""
        image_czyx = self._image(case)
        wanted = np.clip(np.arange(index - context, index + context + 1), 0, image_czyx.shape[1 + axis] - 1)
        slices_schw = np.moveaxis(image_czyx, 1 + axis, 0)[wanted]
        return np.asarray(slices_schw.reshape(-1, *slices_schw.shape[2:]))

    def read_label_slice(self, case: str, index: int, axis: int = 0) -> npt.NDArray[np.int16]:
        """The labels of a slice; the whole case is read once."""
        return np.asarray(np.take(self._label(case), index, axis=axis))

    def read_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        """A box of a case, (channel, z, y, x)."""
        return self._image(case)[(slice(None), *box)]

    def read_label_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.int16]:
        """The labels of a box, (z, y, x)."""
        return self._label(case)[box]

    def read_image(self, case: str) -> npt.NDArray[np.float32]:
        """The whole case, read anew."""
        return self._source.read_image(case)

    def shape(self, case: str) -> tuple[int, int, int]:
        """The preprocessed shape of a case, (z, y, x)."""
        return self._source.shape(case)

    def foreground(self, case: str) -> Mapping[str, npt.NDArray[np.int32]]:
        """For each label of a case some of its voxels, read once."""
        if case not in self._foreground:
            self._foreground[case] = self._source.foreground(case)
        return self._foreground[case]

    def annotated(self, case: str) -> npt.NDArray[np.int32] | None:
        """As the source's."""
        if case not in self._annotated:
            self._annotated[case] = self._source.annotated(case)
        return self._annotated[case]

    def _image(self, case: str) -> npt.NDArray[np.float32]:
        if case not in self._images:
            self._images[case] = self._source.read_image(case)
        return self._images[case]

    def _label(self, case: str) -> npt.NDArray[np.int16]:
        if case not in self._labels:
            self._labels[case] = self._source.read_label_box(case, (slice(None), slice(None), slice(None)))
        return self._labels[case]


class PatchReader:
    """Turns samples into augmented patches of the configuration's size."""

    def __init__(
        self, source: SliceSource, configuration: Configuration, augmentation: AugmentationConfig
    ) -> None:
        self._source, self._configuration, self._augmentation = source, configuration, augmentation

    @property
    def channels(self) -> int:
        """Channels of a patch: image channels times slices, and as many of its surroundings if they are
        seen."""
        return self._configuration.network.input_channels

    @property
    def patch_size(self) -> tuple[int, int]:
        """Height and width of a patch."""
        return self._configuration.patch_size

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Height and width of a patch, or depth, height and width of one of a volume."""
        return self._configuration.patch_shape

    @property
    def context_slices(self) -> int:
        """Neighbours on each side that a patch shows."""
        return self._configuration.context_slices

    def room(self, sample: Sample) -> tuple[int, int]:
        """How much longer than a patch the slice of a sample is, down and right."""
        first, second = in_plane_axes(sample.axis)
        shape_zyx, (height, width) = self._source.shape(sample.case), self.patch_size
        return shape_zyx[first] - height, shape_zyx[second] - width

    def read(self, sample: Sample) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        """The patch (channels, height, width) of a sample and its labels (height, width); of a volume both
        have a depth before the height."""
        if sample.volume is not None:
            return self._read_volume(sample, sample.volume)
        context = self._configuration.context_slices
        image_chw = self._source.read_slice(sample.case, sample.slice_index, context, sample.axis)
        label_hw = self._source.read_label_slice(sample.case, sample.slice_index, sample.axis)
        slices = 2 * context + 1
        channels = image_chw.shape[0] // slices
        if sample.geometry.mirror[0]:
            image_chw = image_chw.reshape(slices, channels, *image_chw.shape[1:])[::-1].reshape(
                image_chw.shape
            )
        image, label = cut_patch(
            image_chw, label_hw, sample.corner_yx, self._configuration.patch_size, sample.geometry
        )
        times = self._configuration.network.surroundings
        if times:
            place = (sample.corner_yx, self._configuration.patch_size, sample.geometry)
            image = np.concatenate([image, cut_surroundings(image_chw, *place, times)])
        if sample.intensity_seed is not None and not self._augmentation.on_device:
            image = augment_intensity(image, channels, sample.intensity_seed, self._augmentation)
        return self._own(image, label, sample)

    def _read_volume(
        self, sample: Sample, geometry: Geometry3d
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        case, spacing = sample.case, self._configuration.spacing_mm
        depth, height, width = self.patch_shape
        image, label = cut_volume(
            lambda box: (self._source.read_box(case, box), self._source.read_label_box(case, box)),
            self._source.shape(case),
            (sample.slice_index, *sample.corner_yx),
            (depth, height, width),
            geometry,
        )
        if sample.intensity_seed is not None and not self._augmentation.on_device:
            stack = self._configuration.network.stack > 0
            across = not stack and max(spacing) <= ANISOTROPIC * min(spacing)
            image = augment_volume(image, sample.intensity_seed, self._augmentation, across=across)
        return self._own(image, label, sample)

    def _own(
        self, image: npt.NDArray[np.float32], label: npt.NDArray[np.int16], sample: Sample
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
        """The patch after the user's own augmentations, where there are any and the sample is augmented."""
        names = self._augmentation.extensions
        if not names or sample.intensity_seed is None:
            return image, label
        return augment_own(image, label, sample.intensity_seed, names)
