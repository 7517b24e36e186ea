"""Signs that an image is not of the kind that a model was trained on: then it still segments something.

Suffixes: `image_czyx` channels first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.imageio import Geometry, Image, is_flat
from balrsam_pipeline.imageio.nifti import header_contradiction
from balrsam_pipeline.imageio.turning import turn_to_one_of
from balrsam_pipeline.plan import ChannelStatistics, Configuration, Plan

LOOKED_AT = 50_000  # voxels
FAR = 3.0  # ranges of the training intensities beyond them
SMALL, LARGE = 1 / 8, 16  # of the patch's side
# times the planned spacing, either way: in LiTS (Bilic et al. 2023) pixels have 0.55 to 1 mm and slices lie
# 0.45 to 6 mm apart
PIXEL_FACTOR, SLICE_FACTOR = 4.0, 8.0
# a CT whose intercept (-1024 or -1000) was lost: nothing is as dark as air or fat, and there is much more
# where soft tissue comes to lie than where the rims of lungs do
HU_BELOW = -50  # some foreground voxel of a training in HU is darker; none, of one without the intercept
PADDING, DARKEST = -1100, -100  # what lies outside the scanner's circle; fat's mean
SOFT_SHIFTED, SPARSE_SHIFTED = (824, 1324), (400, 800)
SOFT_SHARE, SOFT_OVER_SPARSE = 0.1, 2.0  # a tenth of a whole scan is body; dense bone fills less of any crop
NIFTI = (".nii", ".nii.gz")


def find_doubts(image: Image, plan: Plan, configuration: Configuration) -> Iterator[str]:
    """Why the image is unlike the training images, one line each; nothing where it is like them.

    Looked at are its dimension, its spacing, its size in the plane, and for CT its intensities (others are
    normalised by themselves, and differ from scanner to scanner). A plan knows no range of spacings, so it is
    the one that images are resampled to that counts.
    """
    flat, slices = is_flat(configuration.spacing_mm), image.geometry.shape_zyx[0]
    if flat and slices > 1:
        yield f"a volume of {slices} slices, for a model of 2D images"
    if not flat and image.geometry.dimension == 2:
        yield "a 2D image, for a model of volumes"
    yield from _scale(image.geometry, plan, configuration)
    for channel, (scheme, trained) in enumerate(
        zip(configuration.normalization, plan.channel_statistics, strict=True)
    ):
        if scheme == "ct" and channel < len(image.data):
            yield from _intensities(image, channel, trained)


def find_header_doubts(paths: Sequence[Path]) -> Iterator[str]:
    """What the NIfTI headers among the files of a case contradict themselves in, one line each.

    Raises:
        ImageError: a file is missing or no NIfTI.
    """
    for path in paths:
        contradiction = header_contradiction(path) if path.name.lower().endswith(NIFTI) else None
        if contradiction is not None:
            yield f"{path.name}: {contradiction}"


def _scale(geometry: Geometry, plan: Plan, configuration: Configuration) -> Iterator[str]:
    """The spacing, or else the size that it gives: of an image with a wrong spacing the size is wrong too."""
    turn = turn_to_one_of(geometry, plan.orientations)
    geometry = geometry if turn is None else turn.geometry(geometry)
    spacing_mm = [geometry.spacing_mm[axis] for axis in configuration.transpose]
    shape = [geometry.shape_zyx[axis] for axis in configuration.transpose]
    if _spacing_is_odd(geometry, spacing_mm, shape, configuration):
        first = 1 if geometry.dimension == 2 or is_flat(configuration.spacing_mm) else 0
        yield (
            f"voxels of {_sizes(spacing_mm[first:])} mm{'' if first else ' (slices first)'}, for a model of "
            f"about {_sizes(configuration.spacing_mm[first:])}: is its header's spacing right, and in mm?"
        )
        return
    yield from _size(shape[1:], spacing_mm[1:], configuration)


def _spacing_is_odd(
    geometry: Geometry, spacing_mm: Sequence[float], shape: Sequence[int], configuration: Configuration
) -> bool:
    """Whether an axis (transposed) is much coarser or finer than planned; never of images that are fitted,
    each by itself, and along z not of single slices, whose distance means nothing."""
    if configuration.fitted_to is not None:
        return False
    factors = [
        max(own / planned, planned / own)
        for own, planned in zip(spacing_mm, configuration.spacing_mm, strict=True)
    ]
    lone = shape[0] == 1 or geometry.dimension == 2 or is_flat(configuration.spacing_mm)
    within = (
        not configuration.antialias and max(factors[1:]) > PIXEL_FACTOR
    )  # else planned coarser, by any factor
    return within or (factors[0] > SLICE_FACTOR and not lone)


def _sizes(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values)


def _size(
    shape_yx: Sequence[int], spacing_mm: Sequence[float], configuration: Configuration
) -> Iterator[str]:
    """The size in the plane, in patches: these may be small parts of images."""
    flat = is_flat(configuration.spacing_mm)
    natural = flat and set(configuration.spacing_mm[1:]) == {1.0}
    sides = [
        side * (1.0 if natural else own / trained)
        for side, own, trained in zip(shape_yx, spacing_mm, configuration.spacing_mm[1:], strict=True)
    ]
    seen = configuration.fitted_to or configuration.patch_size
    share = max(side / length for side, length in zip(sides, seen, strict=True))
    if not SMALL <= share <= LARGE:
        shown = " x ".join(f"{side:.0f}" for side in sides)
        yield f"{shown} pixels, for a model of patches of {' x '.join(map(str, configuration.patch_size))}"


def _intensities(image: Image, channel: int, trained: ChannelStatistics) -> Iterator[str]:
    values = image.data[channel]
    if values.size > LOOKED_AT:  # at random: every so-many-th voxel may lie in a few columns
        values = values.flat[np.random.default_rng(0).integers(values.size, size=LOOKED_AT)]
    some = values.astype(np.float64)
    low, high = np.percentile(some, (1, 99))
    if trained.min < HU_BELOW and _lost_its_intercept(some):
        yield (
            f"looks shifted by about 1024 HU (channel {channel}): air and fat are missing, and most of the "
            "body lies where only dense bone should; was RescaleIntercept lost on conversion?"
        )
        return
    reach = FAR * (trained.max - trained.min)
    if high < trained.percentile_00_5 or low > trained.percentile_99_5 or high > trained.max + reach:
        yield (
            f"intensities from {low:g} to {high:g} (channel {channel}), while those that it was trained to "
            f"find lie from {trained.percentile_00_5:g} to {trained.percentile_99_5:g}"
        )


def _lost_its_intercept(values: npt.NDArray[np.float64]) -> bool:
    """Whether CT intensities look as if the scanner's intercept had not been added to them."""
    inside = values[values > PADDING]
    if not inside.size or np.percentile(inside, 1) < DARKEST:
        return False
    soft, sparse = (
        np.mean((inside >= low) & (inside <= high)) for low, high in (SOFT_SHIFTED, SPARSE_SHIFTED)
    )
    return bool(soft >= SOFT_SHARE and soft > SOFT_OVER_SPARSE * sparse)
