"""Reading images of one or several channel files, labels, and headers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio.formats import format_of, place_held
from balrsam_pipeline.imageio.geometry import (
    Geometry,
    Image,
    direction_differs,
    origin_differs,
    spacing_differs,
)
from balrsam_pipeline.imageio.turning import laid_on

LOG = logging.getLogger(__name__)
LARGEST_LABEL = 65535
NEARLY_WHOLE = 1e-3  # probabilities and resampled labels are further from whole numbers than that


def read_image(paths: Sequence[Path]) -> Image:
    """Read the channel files of one case into (channel, z, y, x).

    Args:
        paths: one file per channel in channel order, or one file that holds all channels (an RGB picture).

    Returns:
        The voxels in the type that they have on disk (the widest, if channels differ) and the geometry of the
        first file.

    A channel that is stored in another orientation is turned by its header where that lays it onto the first;
    one that lies elsewhere is named in a warning.

    Raises:
        ImageError: a file cannot be read, or files differ in shape or spacing.

    Example:
        >>> import tempfile
        >>> from balrsam_pipeline.imageio import picture_geometry, write_image
        >>> path = Path(tempfile.mkdtemp()) / "photo_0000.png"
        >>> write_image(path, Image(np.zeros((3, 1, 4, 5), np.uint8), picture_geometry(4, 5)))
        >>> image = read_image([path])
        >>> image.data.shape, image.geometry.orientation
        ((3, 1, 4, 5), '2D')
    """
    channels = [format_of(path).read(path) for path in paths]
    first = channels[0].geometry
    channels = [channels[0], *(laid_on(channel, first) for channel in channels[1:])]
    for path, channel in zip(paths[1:], channels[1:], strict=True):
        _require_same_grid(paths[0], first, path, channel.geometry)
        _warn_of_other_place(paths[0], first, path, channel.geometry)
    if len(channels) == 1:
        return channels[0]
    return Image(np.concatenate([channel.data for channel in channels]), first)


def stored_orientation(path: Path) -> int:
    """EXIF's number of how a picture is turned upright when it is read; 1 where it stands as it is stored.

    Raises:
        ImageError: the file cannot be read.
    """
    turn = format_of(path).stored_orientation
    return 1 if turn is None else turn(path)


def read_label(path: Path) -> Image:
    """Read a label map as (1, z, y, x) of an integer type.

    Raises:
        ImageError: the file cannot be read, has several channels, or holds values that are no label
            (fractions, negatives, NaN, or above 65535).
    """
    image = format_of(path).read_label(path)
    if image.data.shape[0] != 1:
        raise ImageError(
            path,
            found=f"{image.data.shape[0]} channels, a colour mask",
            expected="one channel of label values",
            fix="turn colours into values: balrsam convert --help (a value map), or balrsam verify DATASET "
            "--fix NEW_FOLDER",
        )
    return Image(as_label(image.data, path), image.geometry)


def read_geometry(path: Path) -> Geometry:
    """Read where the voxels lie, without the voxels.

    Raises:
        ImageError: the file cannot be read.
    """
    return format_of(path).read_geometry(path)


def as_label(data: npt.NDArray[Any], where: object) -> npt.NDArray[Any]:
    """Voxels as label values: integers as they are, floating-point numbers next to whole ones as these.

    Raises:
        ImageError: fractions, negatives, NaN, or values above 65535.
    """
    if data.dtype.kind == "u" and data.dtype.itemsize <= 2:
        return data
    low, high = (data.min(), data.max()) if data.size else (0, 0)
    if data.dtype.kind not in "iufb":
        raise _no_label(where, f"voxels of type {data.dtype}")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise _no_label(where, "NaN or infinite values")
    whole = data
    if data.dtype.kind == "f":
        whole = np.rint(data)
        if not are_whole_numbers(data):
            raise _no_label(where, "values that are no whole numbers")
        low, high = whole.min(initial=0), whole.max(initial=0)
    if low < 0 or high > LARGEST_LABEL:
        raise _no_label(where, f"values from {low:g} to {high:g}")
    return whole.astype(np.uint8 if high < 256 else np.uint16)


def are_whole_numbers(data: npt.NDArray[Any]) -> bool:
    """Whether finite values are whole numbers but for what storing them has rounded (2.0000001, 0.99999)."""
    return bool(np.all(np.abs(data - np.rint(data)) <= NEARLY_WHOLE))


def _require_same_grid(first_path: Path, first: Geometry, path: Path, other: Geometry) -> None:
    if first.shape_zyx != other.shape_zyx:
        raise ImageError(
            path,
            found=f"shape {_sizes(other.shape_zyx)} (z × y × x)",
            expected=f"{_sizes(first.shape_zyx)}, as in {first_path.name}",
            fix="resample the channels of a case to one grid before making the dataset",
        )
    if spacing_differs(first, other):
        raise ImageError(
            path,
            found=f"spacing {_sizes(other.spacing_mm)} mm (z × y × x)",
            expected=f"{_sizes(first.spacing_mm)} mm, as in {first_path.name}",
            fix="resample the channels of a case to one grid, or correct the header: balrsam verify DATASET "
            "--fix NEW_FOLDER",
        )


def _warn_of_other_place(first_path: Path, first: Geometry, path: Path, other: Geometry) -> None:
    """Say that voxels are combined by their order though the headers place them differently."""
    held = place_held(first_path, path)
    apart_mm = float(np.linalg.norm(np.subtract(first.origin_mm, other.origin_mm)))
    moved, turned = origin_differs(first, other), direction_differs(first, other)
    if (moved and "origin" in held) or (turned and "direction" in held):
        LOG.warning(
            "%s: by its header it lies elsewhere than %s (origins %.3g mm apart, stored %s and %s); their "
            "voxels are combined as they are stored. Look at the case in a viewer; if only the header is "
            "wrong: balrsam verify DATASET --fix NEW_FOLDER",
            path,
            first_path.name,
            apart_mm,
            other.stored[: other.dimension],
            first.stored[: first.dimension],
        )


def _sizes(values: Sequence[float]) -> str:
    return " × ".join(f"{value:g}" for value in values)


def _no_label(where: object, found: str) -> ImageError:
    return ImageError(
        where,
        found=found,
        expected=f"label values: whole numbers from 0 to {LARGEST_LABEL}",
        fix="save the label map with whole numbers (nearest-neighbour resampling keeps them whole)",
    )
