"""PNG, BMP, JPEG and GIF through Pillow: colours become channels, a palette is looked up in images and kept
as indices in labels, pictures stand upright as in viewers.

Pillow's silent conversions are undone or refused: it ignores EXIF orientations, reads 16-bit colours as 8-bit
ones, spreads grey label values of 2 and 4 bits over 8, opens whatever format the content is (PostScript by
starting another program), and shows the first frame of an animation.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.content import not_this_format
from balrsam_pipeline.imageio.geometry import Geometry, Image, picture_geometry
from balrsam_pipeline.imageio.inflate import LARGEST_RATIO
from balrsam_pipeline.imageio.orientation import TAG, upright, upright_size

MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "F"}
FORMATS = {".png": "PNG", ".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG", ".gif": "GIF"}
MOST_PIXELS = 1 << 31  # of a picture; pixel counters of the libraries end there
_OPENING = threading.Lock()


def read(path: Path) -> Image:
    """Read a picture as (1 to 4 channels, 1, y, x); a palette is turned into the colours that it stands for.

    Raises:
        ImageError: missing, damaged, of another format than its ending says, too large, animated, or in a
            colour space with no meaning here (CMYK, Lab …).
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
    with _opened(path) as picture:
        return picture_geometry(*upright_size(picture.height, picture.width, _orientation(path, picture)))


def stored_orientation(path: Path) -> int:
    """EXIF's number of how the picture was turned when it was read; 1 where it stands as it is stored.

    Raises:
        ImageError: missing or no picture.
    """
    with _opened(path) as picture:
        return _orientation(path, picture)


def write(path: Path, image_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write one (grey), two (grey and transparency), three (RGB) or four (RGBA) channels; 16 bits as PNG.

    Raises:
        ImageError: the file format cannot hold the image.
    """
    array = image_czyx[:, 0]
    png = path.suffix.lower() == ".png"
    fits = array.shape[0] in ((1, 2, 3, 4) if png else (1, 3, 4)) and image_czyx.shape[1] == 1
    if not fits or not (array.dtype == np.uint8 or (png and array.dtype == np.uint16)):
        raise ImageError(
            path,
            found=f"{array.shape[0]} channel(s) of {array.dtype}, {image_czyx.shape[1]} slice(s)",
            expected="one slice of 8-bit grey, RGB or RGBA, or of 16 bits in a PNG",
            fix="choose a file ending that holds it, such as .tif or .nii.gz",
        )
    picture = array[0] if array.shape[0] == 1 else np.ascontiguousarray(np.moveaxis(array, 0, -1))
    if array.dtype == np.uint16 and array.shape[0] > 1:
        import imagecodecs  # Pillow cannot write colours of 16 bits

        path.write_bytes(imagecodecs.png_encode(picture))
    else:
        PillowImage.fromarray(picture).save(path)


def _read(path: Path, palette_as_colours: bool) -> Image:
    with _opened(path) as picture:
        if picture.mode not in MODES:
            raise ImageError(
                path,
                found=f"colour mode {picture.mode}",
                expected="grey, RGB or RGBA",
                fix="convert the picture to RGB or grey",
            )
        orientation = _orientation(path, picture)
        if picture.format in ("PNG", "GIF") and getattr(picture, "is_animated", False):
            raise ImageError(
                path,
                found=f"an animated {picture.format} of {getattr(picture, 'n_frames', 'several')} pictures",
                expected="one picture",
                fix="save each frame as a picture of its own",
            )
        if _is_deep_colour(path):
            array = _deep_colours(path)
        else:
            colours = palette_as_colours and picture.mode in ("P", "PA")
            array = np.asarray(picture.convert("RGB") if colours else picture)
            if not palette_as_colours and (step := _grey_step(path)) > 1:
                array = array // step
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim == 2:
        array = array[..., None]
    array = upright(array, orientation)
    height, width = array.shape[:2]
    return Image(np.ascontiguousarray(np.moveaxis(array, -1, 0)[:, None]), picture_geometry(height, width))


@contextmanager
def _opened(path: Path) -> Iterator[PillowImage.Image]:
    """The picture, its header read and its size found sound; whatever goes wrong with it is an ImageError."""
    name = FORMATS[path.suffix.lower()]
    try:
        with _OPENING:  # Pillow's own limit, of 179 megapixels, is a variable of its module
            limit, PillowImage.MAX_IMAGE_PIXELS = PillowImage.MAX_IMAGE_PIXELS, None
            try:
                picture = PillowImage.open(path, formats=(name,))
            finally:
                PillowImage.MAX_IMAGE_PIXELS = limit
        with picture:
            _require_pixels(path, picture)
            yield picture
    except UnidentifiedImageError:
        raise not_this_format(path, name) from None
    except ValueError as problem:
        if "MAX_TEXT" not in str(problem):
            raise simpleitk_io.unreadable(path, problem) from None
        raise ImageError(
            path,
            found="metadata (texts, a colour profile) that are too large",
            expected="less than 1 MiB of each",
            fix="save a copy without metadata: exiftool -all= COPY",
        ) from None
    except (OSError, SyntaxError, EOFError, struct.error, MemoryError) as problem:
        raise simpleitk_io.unreadable(path, problem) from None


def _require_pixels(path: Path, picture: PillowImage.Image) -> None:
    """A picture whose data end early would be filled up with black, at whatever size its header announces."""
    channels = len(picture.getbands())
    announced_bits = picture.width * picture.height * (8 * channels if channels > 1 else 1)
    size = path.stat().st_size
    if picture.width * picture.height > MOST_PIXELS:
        raise ImageError(
            path,
            found=f"{picture.width} x {picture.height} pixels, which is too large",
            expected=f"at most {MOST_PIXELS >> 20} megapixels",
            fix="cut the picture into tiles, each a case of its own",
        )
    if announced_bits > 8 * LARGEST_RATIO * size:
        raise ImageError(
            path,
            found=f"a header that announces {picture.width} x {picture.height} pixels in a file of {size} "
            "bytes",
            expected="as many pixels as the file can hold",
            fix="the file is damaged or cut short: export or copy it again",
        )


def _orientation(path: Path, picture: PillowImage.Image) -> int:
    """EXIF's number of the orientation; a PNG without EXIF is not decoded to look for it at its end."""
    if picture.format == "PNG" and "XML:com.adobe.xmp" not in picture.info and not _has_chunk(path, b"eXIf"):
        return 1
    found = picture.getexif().get(TAG, 1)
    return found if isinstance(found, int) else 1


def _has_chunk(path: Path, name: bytes) -> bool:
    """Whether a PNG file has a chunk of this name, wherever."""
    with path.open("rb") as stream:
        stream.seek(8)
        while len(start := stream.read(8)) == 8:
            if start[4:] == name:
                return True
            stream.seek(int.from_bytes(start[:4], "big") + 4, 1)
    return False


def _png_depth(path: Path) -> tuple[int, int]:
    """Bits per channel and the colour type of a PNG (0: grey); (0, 0) of another file."""
    with path.open("rb") as stream:
        start = stream.read(26)
    return (start[24], start[25]) if start[1:4] == b"PNG" else (0, 0)


def _is_deep_colour(path: Path) -> bool:
    """Whether the file is a PNG with 16 bits for each of several channels."""
    bits, kind = _png_depth(path)
    return bits == 16 and kind in (2, 4, 6)


def _grey_step(path: Path) -> int:
    """What Pillow multiplies the values of a grey PNG of 2 or 4 bits by, to fill 8; 1 of another file."""
    return {(2, 0): 255 // 3, (4, 0): 255 // 15}.get(_png_depth(path), 1)


def _deep_colours(path: Path) -> npt.NDArray[np.uint16]:
    """The uint16 (y, x, channel) of a PNG that Pillow would read as 8-bit colours."""
    import imagecodecs

    try:
        return np.asarray(imagecodecs.png_decode(path.read_bytes()), dtype=np.uint16)
    except imagecodecs.PngError as problem:
        raise ValueError(str(problem)) from None
