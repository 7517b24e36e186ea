"""PNG, BMP and JPEG through Pillow: colours become channels, a palette is looked up in images and kept as
indices in labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.geometry import Geometry, Image, picture_geometry
from balrsam_pipeline.imageio.itk_guard import LARGEST_RATIO

MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "F"}


def read(path: Path) -> Image:
    """Read a picture as (1, 3 or 4 channels, 1, y, x); a palette is turned into the colours that it stands
    for.

    Raises:
        ImageError: missing, damaged or in a colour space with no meaning here (CMYK, Lab …).
    """
    return _read(path, palette_as_colours=True)


def read_label(path: Path) -> Image:
    """Read a mask; for a palette PNG the values are the palette's indices, as annotation tools mean them.

    Raises:
        ImageError: as `read`.
    """
    return _read(path, palette_as_colours=False)


def read_geometry(path: Path) -> Geometry:
    """Read the header alone.

    Raises:
        ImageError: missing or no picture.
    """
    try:
        with PillowImage.open(path) as picture:
            return picture_geometry(picture.height, picture.width)
    except (OSError, ValueError, PillowImage.DecompressionBombError) as problem:
        raise simpleitk_io.unreadable(path, problem) from None


def write(path: Path, image_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write one (grey), three (RGB) or four (RGBA) channels; 16 bits only as grey PNG.

    Raises:
        ImageError: the file format cannot hold the image.
    """
    array = image_czyx[:, 0]
    wide = array.dtype == np.uint16 and array.shape[0] == 1 and path.suffix.lower() == ".png"
    if image_czyx.shape[1] != 1 or array.shape[0] not in (1, 3, 4) or not (array.dtype == np.uint8 or wide):
        raise ImageError(
            path,
            found=f"{array.shape[0]} channel(s) of {array.dtype}, {image_czyx.shape[1]} slice(s)",
            expected="one slice of 8-bit grey, RGB or RGBA, or 16-bit grey PNG",
            fix="choose a file ending that holds it, such as .tif or .nii.gz",
        )
    PillowImage.fromarray(array[0] if array.shape[0] == 1 else np.moveaxis(array, 0, -1)).save(path)


def _read(path: Path, palette_as_colours: bool) -> Image:
    try:
        with PillowImage.open(path) as picture:
            if picture.mode not in MODES:
                raise ImageError(
                    path,
                    found=f"colour mode {picture.mode}",
                    expected="grey, RGB or RGBA",
                    fix="convert the picture to RGB or grey",
                )
            _require_pixels(path, picture)
            colours = palette_as_colours and picture.mode in ("P", "PA")
            array = np.asarray(picture.convert("RGB") if colours else picture)
    except (OSError, ValueError, SyntaxError, PillowImage.DecompressionBombError) as problem:
        raise simpleitk_io.unreadable(path, problem) from None
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim == 2:
        array = array[..., None]
    height, width = array.shape[:2]
    return Image(np.ascontiguousarray(np.moveaxis(array, -1, 0)[:, None]), picture_geometry(height, width))


def _require_pixels(path: Path, picture: PillowImage.Image) -> None:
    """A PNG whose data end early would be filled up with black, at whatever size its header announces."""
    channels = len(picture.getbands())
    announced_bits = picture.width * picture.height * (8 * channels if channels > 1 else 1)
    size = path.stat().st_size
    if picture.format == "PNG" and announced_bits > 8 * LARGEST_RATIO * size:
        raise ImageError(
            path,
            found=f"a header that announces {picture.width} x {picture.height} pixels in a file of {size} "
            "bytes",
            expected="as many pixels as the file can hold",
            fix="the file is damaged or cut short: export or copy it again",
        )
