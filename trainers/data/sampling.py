"""Which patch a sample shows: a pure function of (seed, epoch, index), whoever asks and in whatever order.

Suffix: `_yx` row and column within a slice; axes are those of the preprocessed (transposed) volume.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.plan import Configuration
from trainers.augmentation import (
    Geometry2d,
    Geometry3d,
    draw_bend,
    draw_geometry,
    draw_shift,
    draw_volume_geometry,
)
from trainers.config import TrainingConfig

VOLUME = 3  # dimensions
GOLDEN_RATIO = (5**0.5 - 1) / 2
Foreground = Callable[[str], Mapping[str, npt.NDArray[np.int32]]]
Annotated = Callable[[str], npt.NDArray[np.int32] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingCase:
    """What sampling knows of every case."""

    case: str
    shape_zyx: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One patch and all that was drawn for it; `corner_yx` may lie outside the slice, where there is
    padding.

    `view`, from 0 up to 1, chooses among copies of the slice where an encoder saw several.

    A patch of a volume begins with slice `slice_index` of axis 0, which may lie outside too; `volume` is then
    what moves it, instead of `geometry`.
    """

    case: str
    axis: int
    slice_index: int
    corner_yx: tuple[int, int]
    geometry: Geometry2d = field(default_factory=Geometry2d)
    intensity_seed: int | None = None
    volume: Geometry3d | None = None
    view: float = 0.0


def _everything(_case: str) -> None:
    """Every voxel of every case is annotated."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws samples of the training cases of a fold.

    Attributes:
        foreground: gives, for each label of a case, some of its voxels (n, 3).
        annotated: gives some voxels (n, 3) of a case that somebody annotated, or None where that is all of
            them; samples that are not centred on foreground are centred on these.
    """

    cases: Sequence[SamplingCase]
    foreground: Foreground
    configuration: Configuration
    config: TrainingConfig
    annotated: Annotated = _everything

    def draw(self, epoch: int, index: int) -> Sample:
        """The sample number `index` of `epoch`: case, slice, position and augmentation."""
        rng = np.random.default_rng((self.config.seed, epoch, index))
        case = self.cases[int(rng.integers(len(self.cases)))]
        if self.configuration.dimension == VOLUME:
            return self._draw_volume(case, rng)
        axes = self.configuration.slicing_axes
        axis = axes[int(rng.integers(len(axes)))]
        centre_zyx = self._centre(case, rng)
        slice_index = int(rng.integers(case.shape_zyx[axis])) if centre_zyx is None else int(centre_zyx[axis])
        plane = in_plane_axes(axis)
        corner = [
            _corner(
                rng, case.shape_zyx[across], size, None if centre_zyx is None else int(centre_zyx[across])
            )
            for across, size in zip(plane, self.configuration.patch_size, strict=True)
        ]
        mirrored = [across in self.configuration.mirror_axes for across in (axis, *plane)]
        geometry = draw_geometry(
            rng,
            self.config.augmentation,
            self.configuration.patch_size,
            (mirrored[0], mirrored[1], mirrored[2]),
        )
        seed = int(rng.integers(2**32))
        room_yx = [
            case.shape_zyx[across] - size
            for across, size in zip(plane, self.configuration.patch_size, strict=True)
        ]
        shift_yx = draw_shift(
            rng, self.config.augmentation, self.configuration.patch_size, (room_yx[0], room_yx[1])
        )
        view = float(rng.random())
        bend = draw_bend(rng, self.config.augmentation)
        return Sample(
            case=case.case,
            axis=axis,
            slice_index=slice_index,
            corner_yx=(corner[0], corner[1]),
            geometry=dataclasses.replace(geometry, shift_yx=shift_yx, bend=bend),
            intensity_seed=seed,
            view=view,
        )

    def _draw_volume(self, case: SamplingCase, rng: np.random.Generator) -> Sample:
        """A patch of a volume: its first voxel, and what moves it."""
        centre_zyx = self._centre(case, rng)
        z, y, x = (
            _corner(rng, length, size, None if centre_zyx is None else int(centre_zyx[axis]))
            for axis, (length, size) in enumerate(
                zip(case.shape_zyx, self.configuration.patch_shape, strict=True)
            )
        )
        volume = draw_volume_geometry(
            rng,
            self.config.augmentation,
            self.configuration.spacing_mm,
            self.configuration.mirror_axes,
            stack=self.configuration.network.stack > 0,
        )
        seed = int(rng.integers(2**32))
        return Sample(
            case=case.case, axis=0, slice_index=z, corner_yx=(y, x), intensity_seed=seed, volume=volume
        )

    def _centre(self, case: SamplingCase, rng: np.random.Generator) -> npt.NDArray[np.int32] | None:
        """A voxel to centre the patch on: of foreground for a share of the samples; None for anywhere."""
        forced = rng.random() < self.config.foreground_fraction
        centre_zyx = self._foreground_voxel(case, rng) if forced else None
        return self._annotated_voxel(case, rng) if centre_zyx is None else centre_zyx

    def _foreground_voxel(self, case: SamplingCase, rng: np.random.Generator) -> npt.NDArray[np.int32] | None:
        present = [voxels for voxels in self.foreground(case.case).values() if len(voxels)]
        if not present:
            return None
        voxels = present[int(rng.integers(len(present)))]
        voxel: npt.NDArray[np.int32] = voxels[int(rng.integers(len(voxels)))]
        return voxel

    def _annotated_voxel(self, case: SamplingCase, rng: np.random.Generator) -> npt.NDArray[np.int32] | None:
        voxels = self.annotated(case.case)
        if voxels is None or not len(voxels):
            return None
        voxel: npt.NDArray[np.int32] = voxels[int(rng.integers(len(voxels)))]
        return voxel


def in_plane_axes(axis: int) -> tuple[int, int]:
    """The two axes of a slice cut across `axis`, in order."""
    first, second = (other for other in range(3) if other != axis)
    return first, second


def centred_corner(length: int, size: int, centre: int) -> int:
    """Where a patch of `size` starts so that `centre` is in its middle, kept inside `length` where it fits,
    else centred."""
    if size >= length:
        return -((size - length) // 2)
    return min(max(centre - size // 2, 0), length - size)


def _corner(rng: np.random.Generator, length: int, size: int, centre: int | None) -> int:
    if size >= length or centre is not None:
        return centred_corner(length, size, 0 if centre is None else centre)
    return int(rng.integers(length - size + 1))


def fixed_samples(
    cases: Sequence[SamplingCase],
    foreground: Foreground,
    configuration: Configuration,
    count: int,
    annotated: Annotated = _everything,
) -> tuple[Sample, ...]:
    """About `count` unaugmented samples spread evenly over the cases, their foreground and the axes: the
    quick validation's. Fewer where cases are seen whole, each slice once. Cases without foreground are seen
    where somebody annotated them, else in their middle; those that nobody annotated anywhere not at all.

    Each case starts elsewhere in its foreground (steps of the golden ratio), so that one sample per case
    covers it too: its middle would always be, in some anatomy, where two labels meet.
    """
    samples: list[Sample] = []
    per_case = max(1, count // max(1, len(cases)))
    chosen = (
        cases
        if len(cases) <= count
        else [cases[position] for position in np.linspace(0, len(cases) - 1, count).astype(int)]
    )
    for rank, case in enumerate(chosen):
        voxels = [array for array in foreground(case.case).values() if len(array)]
        everything = np.concatenate(voxels) if voxels else _without_foreground(case, annotated)
        if not len(everything):
            continue
        ordered = everything[
            np.lexsort(everything.T[::-1])
        ]  # by slice, so that even steps cover the extent of the foreground
        for number in range(per_case):
            position = int((number + rank * GOLDEN_RATIO % 1) / per_case * len(ordered))
            samples.append(_centred(case, ordered[position], configuration, rank * per_case + number))
    return tuple(dict.fromkeys(samples))


def _without_foreground(case: SamplingCase, annotated: Annotated) -> npt.NDArray[np.integer[Any]]:
    """Voxels (n, 3) that stand for a case without foreground: those somebody annotated, or its middle."""
    voxels = annotated(case.case)
    return np.array([[size // 2 for size in case.shape_zyx]]) if voxels is None else voxels


def _centred(
    case: SamplingCase, centre_zyx: npt.NDArray[np.integer[Any]], configuration: Configuration, number: int
) -> Sample:
    """An unaugmented sample about a voxel; slices take turns among the axes that they are cut along."""
    volumes = configuration.dimension == VOLUME
    axis = 0 if volumes else configuration.slicing_axes[number % len(configuration.slicing_axes)]
    sizes = dict(zip((0, 1, 2) if volumes else in_plane_axes(axis), configuration.patch_shape, strict=True))
    corner = {
        across: centred_corner(case.shape_zyx[across], size, int(centre_zyx[across]))
        for across, size in sizes.items()
    }
    first, second = in_plane_axes(axis)
    return Sample(
        case=case.case,
        axis=axis,
        slice_index=corner.get(axis, int(centre_zyx[axis])),
        corner_yx=(corner[first], corner[second]),
        volume=Geometry3d() if volumes else None,
    )
