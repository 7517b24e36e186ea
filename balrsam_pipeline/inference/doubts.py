"""Signs that an image is not of the kind that a model was trained on: then it still segments something.

Suffixes: `image_czyx` channels first.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from balrsam_pipeline.imageio import Image
from balrsam_pipeline.imageio.geometry import is_flat
from balrsam_pipeline.plan import ChannelStatistics, Configuration, Plan

LOOKED_AT = 50_000  # voxels
FAR = 3.0  # ranges of the training intensities beyond them
SMALL, LARGE = 1 / 8, 16  # of the patch's side
GREY = np.array([0.299, 0.587, 0.114])  # of red, green, blue: ITU-R BT.601, as Pillow's "L"


def find_doubts(image: Image, plan: Plan, configuration: Configuration) -> Iterator[str]:
    """Why the image is unlike the training images, one line each; nothing where it is like them.

    Looked at are its dimension, its size in the plane, and for CT its intensities (others are normalised by
    themselves, and differ from scanner to scanner).
    """
    flat, slices = is_flat(configuration.spacing_mm), image.geometry.shape_zyx[0]
    if flat and slices > 1:
        yield f"a volume of {slices} slices, for a model of 2D images"
    if not flat and image.geometry.dimension == 2:
        yield "a 2D image, for a model of volumes"
    if flat and slices == 1:
        yield from _size(image, configuration)
    for channel, (scheme, trained) in enumerate(
        zip(configuration.normalization, plan.channel_statistics, strict=True)
    ):
        if scheme == "ct" and channel < len(image.data):
            yield from _intensities(image, channel, trained)


def as_grey(image: Image, channels: int) -> Image:
    """A colour picture as a grey one, where the model has one channel; any other image as it is."""
    if channels != 1 or len(image.data) != len(GREY):
        return image
    return Image(np.tensordot(GREY, image.data, 1)[None].astype(np.float32), image.geometry)


def _size(image: Image, configuration: Configuration) -> Iterator[str]:
    spacing = image.geometry.spacing_mm[1:]
    natural = set(configuration.spacing_mm[1:]) == {1.0}
    sides = [
        side * (1.0 if natural else own / trained)
        for side, own, trained in zip(
            image.geometry.shape_zyx[1:], spacing, configuration.spacing_mm[1:], strict=True
        )
    ]
    share = max(side / patch for side, patch in zip(sides, configuration.patch_size, strict=True))
    if not SMALL <= share <= LARGE:
        shown = " x ".join(f"{side:.0f}" for side in sides)
        yield f"{shown} pixels, for a model of patches of {' x '.join(map(str, configuration.patch_size))}"


def _intensities(image: Image, channel: int, trained: ChannelStatistics) -> Iterator[str]:
    values = image.data[channel].reshape(-1)
    some = values[:: max(1, values.size // LOOKED_AT)].astype(np.float64)
    low, high = np.percentile(some, (1, 99))
    reach = FAR * (trained.max - trained.min)
    if high < trained.percentile_00_5 or low > trained.percentile_99_5 or high > trained.max + reach:
        yield (
            f"intensities from {low:g} to {high:g} (channel {channel}), while those that it was trained to "
            f"find lie from {trained.percentile_00_5:g} to {trained.percentile_99_5:g}"
        )
