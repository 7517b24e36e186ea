"""Channels of pictures: transparency is none, and grey pictures and coloured ones can stand in for each
other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from balrsam_pipeline.imageio import tiff
from balrsam_pipeline.imageio.formats import NATURAL_ENDINGS, PICTURE_ENDINGS, known_ending
from balrsam_pipeline.imageio.geometry import Image

COLOURS = 3  # channels
GREY = np.array([0.299, 0.587, 0.114])  # of red, green, blue: ITU-R BT.601, as Pillow's "L"
RED_GREEN_BLUE = (("r", "g", "b"), ("red", "green", "blue"), ("rgb",) * COLOURS, ("rgb_to_0_1",) * COLOURS)


def are_colours(channel_names: Sequence[str]) -> bool:
    """Whether the channels of a dataset are red, green and blue.

    Example:
        >>> are_colours(("R", "G", "B")), are_colours(("T1", "T2", "FLAIR"))
        (True, False)
    """
    return tuple(name.casefold() for name in channel_names) in RED_GREEN_BLUE


def has_transparency(path: Path, channels: int) -> bool:
    """Whether the last channel of an image file says how transparent it is.

    Raises:
        ImageError: it cannot be read.
    """
    if channels not in (2, 4):
        return False
    return bool(known_ending(path, PICTURE_ENDINGS)) or (
        bool(known_ending(path, NATURAL_ENDINGS)) and tiff.has_alpha(path)
    )


def without_transparency(image: Image, path: Path, channels: int) -> Image:
    """An image of one file without its transparency, unless it has as many channels as are wanted.

    Args:
        channels: wanted; 0 where any are.

    Raises:
        ImageError: the file cannot be read.
    """
    if len(image.data) == channels or not has_transparency(path, len(image.data)):
        return image
    return Image(image.data[:-1], image.geometry)


def as_colours(image: Image) -> Image:
    """A grey picture as one of three equal channels; any other image as it is."""
    if len(image.data) != 1 or image.geometry.dimension != 2:
        return image
    return Image(image.data.repeat(COLOURS, axis=0), image.geometry)


def as_grey(image: Image) -> Image:
    """A picture of three channels as a grey one, float32; any other image as it is."""
    if len(image.data) != COLOURS:
        return image
    return Image(np.tensordot(GREY, image.data, 1)[None].astype(np.float32), image.geometry)
