"""TIFF through tifffile: pictures, RGB pictures and 3D stacks of any bit depth.

A stack's spacing comes from a JSON file `{"spacing": [z, y, x]}` beside it, named like the image
(`CASE_0000.json`) or like the case (`CASE.json`), as nnU-Net's Tiff3DIO has it; without one it is 1 mm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.content import not_this_format
from balrsam_pipeline.imageio.geometry import Geometry, Image, picture_geometry
from balrsam_pipeline.imageio.orientation import TAG, upright, upright_size
from balrsam_pipeline.layout import DESCRIPTION

LARGEST_RATIO = 40_000  # of the best compression that TIFF knows
WHITE_IS_ZERO, PALETTE, YCBCR = 0, 3, 6  # TIFF's photometric interpretations
OTHER_COLOURS = {5, 8, 9, 10, 32844, 32845}  # CMYK, three kinds of Lab, two of LogLuv
JPEG_COMPRESSIONS = {6, 7, 33003, 33004, 33005, 34712, 34892, 50002}  # decoded as RGB whatever is stored
LISTED_PAGES = {"ome", "mmstack", "ndtiff"}  # kinds whose metadata say where each page is
ALPHA = {1, 2}  # TIFF's extra samples: transparency, multiplied into the colours or not
LEAST_REDUCTION, SAME_SHAPE = 1.5, 1.1  # of thumbnails against their image
DEPTH_AXES, CHANNEL_AXES = "ZQIT", "SC"  # tifffile's letters


def read(path: Path) -> Image:
    """Read a picture (colours become channels, a palette the colours that it stands for, white-is-zero is
    turned round) or a stack (z, y, x).

    Raises:
        ImageError: missing, damaged, of axes or colours with no meaning here, of a compression that nothing
            here reads, or with a malformed spacing file.
    """
    return _read(path, as_label=False)


def read_label(path: Path) -> Image:
    """Read a mask; the values are those stored: a palette's indices, and of one bit 1 for white.

    Raises:
        ImageError: as `read`.
    """
    return _read(path, as_label=True)


def read_geometry(path: Path) -> Geometry:
    """Read the header and the spacing file alone.

    Raises:
        ImageError: as `read`.
    """
    with _opened(path) as series:
        axes, shape, orientation = str(series.axes), series.shape, _orientation(series)
    return _upright_geometry(_geometry(path, axes, shape), orientation)


def stored_orientation(path: Path) -> int:
    """The number in tag 274, by which a picture was turned when it was read; stacks stay as they are.

    Raises:
        ImageError: missing or damaged.
    """
    with _opened(path) as series:
        flat = _geometry(path, str(series.axes), series.shape).dimension == 2
        return _orientation(series) if flat else 1


def has_alpha(path: Path) -> bool:
    """Whether the header says that the last channel is transparency.

    Raises:
        ImageError: missing or damaged.
    """
    with _opened(path) as series:
        extra = tuple(int(sample) for sample in series.keyframe.extrasamples)
    return bool(extra) and extra[-1] in ALPHA


def _read(path: Path, as_label: bool) -> Image:
    with _opened(path) as series:
        axes, array, orientation = str(series.axes), np.asarray(series.asarray()), _orientation(series)
        photometric, palette = int(series.keyframe.photometric), series.keyframe.colormap
    geometry = _geometry(path, axes, array.shape)
    order = sorted(range(array.ndim), key=lambda axis: _rank(axes[axis]))
    data = array.transpose(order).reshape(-1, *geometry.shape_zyx)
    if data.dtype.kind == "c":
        raise ImageError(
            path,
            found=f"complex pixels ({data.dtype})",
            expected="one real number per pixel and channel",
            fix="save magnitude or phase as a picture of its own",
        )
    if photometric == WHITE_IS_ZERO and (data.dtype == np.bool_ or not as_label):
        data = _inverted(data)
    if data.dtype == np.bool_:
        data = data.astype(np.uint8)
    if palette is not None and photometric == PALETTE and not as_label:
        data = _colours(data, palette)
    if orientation != 1 and geometry.dimension == 2:
        data = np.moveaxis(upright(np.moveaxis(data[:, 0], 0, -1), orientation), -1, 0)[:, None]
    return Image(np.ascontiguousarray(data), _upright_geometry(geometry, orientation))


def _inverted(data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Pixels of which 0 is white, as numbers that grow with brightness; floats have no largest."""
    if data.dtype == np.bool_:
        return ~data
    return np.iinfo(data.dtype).max - data if data.dtype.kind == "u" else -data


def _colours(indices_czyx: npt.NDArray[Any], palette: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """The colours (3, z, y, x) that indices stand for; a palette holds 16 bits, of which writers fill the
    upper 8."""
    return np.asarray((palette[:, indices_czyx[0]] >> 8), dtype=np.uint8)


def _orientation(series: Any) -> int:
    tag = series.keyframe.tags.get(TAG)
    return int(tag.value) if tag is not None and isinstance(tag.value, int) else 1


def _upright_geometry(geometry: Geometry, orientation: int) -> Geometry:
    """The geometry of a picture as it is meant to be seen; stacks have no such orientation."""
    if geometry.dimension == 3:
        return geometry
    return picture_geometry(*upright_size(*geometry.shape_zyx[1:], orientation))


def write(path: Path, image_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write a picture (1, 3 or 4 channels) or a stack of one channel, compressed; a stack's spacing file is
    written by `write_sidecar`."""
    if geometry.dimension == 3:
        tifffile.imwrite(
            path, image_czyx[0], compression="zlib", photometric="minisblack", metadata={"axes": "ZYX"}
        )
    elif image_czyx.shape[0] == 1:
        tifffile.imwrite(path, image_czyx[0, 0], compression="zlib", photometric="minisblack")
    else:
        tifffile.imwrite(path, np.moveaxis(image_czyx[:, 0], 0, -1), compression="zlib", photometric="rgb")


def spacing_file(path: Path) -> Path:
    """Where the spacing of a stack is written: beside it."""
    return path.with_suffix(".json")


def write_sidecar(path: Path, geometry: Geometry) -> None:
    """Write the spacing file of a stack; pictures have none."""
    if geometry.dimension == 3:
        write_json(spacing_file(path), {"spacing": list(geometry.spacing_mm)})


def is_written_sidecar(path: Path) -> bool:
    """Whether a file is what `write_sidecar` writes, with nothing of others (annotations, say) in it."""
    try:
        content = read_json(path, ImageError)
    except ImageError:
        return False
    return isinstance(content, dict) and content.keys() == {"spacing"}


def sidecar(path: Path) -> Path | None:
    """The spacing file of a TIFF image, or None where there is none."""
    candidates = (spacing_file(path), path.with_name(re.sub(r"_\d{4}$", "", path.stem) + ".json"))
    return next(
        (candidate for candidate in candidates if candidate.is_file() and candidate.name != DESCRIPTION),
        None,
    )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The image in a file, as tifffile's series; whatever goes wrong with it is an ImageError."""
    try:
        with tifffile.TiffFile(path) as file:
            yield _chosen_series(path, file)
    except ImageError:
        raise
    except Exception as problem:  # tifffile raises many kinds on damaged files
        raise _error_of(path, problem) from None


def _error_of(path: Path, problem: Exception) -> ImageError:
    text = str(problem)
    if isinstance(problem, tifffile.TiffFileError) and "not a TIFF" in text:
        return not_this_format(path, "TIFF")
    if (
        "imagecodecs" in text
        or "not supported" in text
        or isinstance(problem, (KeyError, NotImplementedError))
    ):
        return ImageError(
            path,
            found=f"a kind of TIFF that is not supported: {text[:150]}",
            expected="a compression and bit depth that tifffile and imagecodecs read",
            fix="pip install imagecodecs if it is missing; else save the picture without compression, 8 or "
            "16 bits",
        )
    return simpleitk_io.unreadable(path, problem)


def _chosen_series(path: Path, file: Any) -> Any:
    """The image of a file, whatever thumbnails come with it, of which no more is believed than the file has
    room for."""
    len(
        file.pages
    )  # finds them all, and sees where their chain runs in a circle, which iterating over them does not
    full = [series for series in file.series if not series.keyframe.is_reduced] or list(file.series[:1])
    series = max(full, key=lambda one: one.size)
    others = [one.shape for one in full if one is not series and not _is_thumbnail(one, series)]
    if others:
        raise ImageError(
            path,
            found=f"{len(full)} images of different sizes: "
            + ", ".join(" × ".join(map(str, shape)) for shape in (series.shape, *others[:3])),
            expected="one picture or one stack",
            fix="save each image as a file of its own",
        )
    _require_own_pixels(path, file, series)
    colours = int(series.keyframe.photometric)
    jpeg = int(series.keyframe.compression) in JPEG_COMPRESSIONS
    if colours in OTHER_COLOURS or (colours == YCBCR and not jpeg):
        raise ImageError(
            path,
            found=f"colour mode {series.keyframe.photometric.name}",
            expected="grey, a palette, RGB or RGBA",
            fix="convert the picture to RGB or grey",
        )
    compressed = series.keyframe.compression != 1
    if series.size < 1 or series.size * series.dtype.itemsize > path.stat().st_size * (
        LARGEST_RATIO if compressed else 1 if series.dtype != np.bool_ else 8
    ):
        raise ValueError(
            f"{path.stat().st_size} bytes, where the header announces {' × '.join(map(str, series.shape))} "
            "pixels"
        )
    return series


def _require_own_pixels(path: Path, file: Any, series: Any) -> None:
    """Refuse metadata that name other files for a part of the pixels, or pixels that are nowhere: tifffile
    reads the former wherever they lie, and puts zeros for the latter."""
    elsewhere = series.is_multifile or series.keyframe.parent is not file
    if not elsewhere and (series.kind not in LISTED_PAGES or all(page is not None for page in series)):
        return
    raise ImageError(
        path,
        found=f"an image of size {' × '.join(map(str, series.shape))}, of which other files hold a part"
        if elsewhere
        else f"an image of size {' × '.join(map(str, series.shape))}, of which parts are missing",
        expected="a file that holds all of its pixels",
        fix="save the image as one TIFF file with the program that wrote it, such as Fiji",
    )


def _is_thumbnail(small: Any, large: Any) -> bool:
    """Whether a smaller image in the same file can be a preview of the large one: smaller by as much on every
    side."""
    sizes = [dict(zip(one.axes, one.shape, strict=True)) for one in (small, large)]
    if not all({"Y", "X"} <= set(own) for own in sizes):
        return False
    down, across = (sizes[1][axis] / max(1, sizes[0][axis]) for axis in "YX")
    return bool(min(down, across) >= LEAST_REDUCTION and max(down, across) < SAME_SHAPE * min(down, across))


def _rank(axis: str) -> int:
    return 0 if axis in CHANNEL_AXES else 1 if axis in DEPTH_AXES else 2


def _geometry(path: Path, axes: str, shape: tuple[int, ...]) -> Geometry:
    same = len(axes) == len(shape)
    sizes = dict(zip(axes, (int(size) for size in shape), strict=True)) if same else {}
    depths, channels = (
        [axis for axis in axes if axis in DEPTH_AXES],
        [axis for axis in axes if axis in CHANNEL_AXES],
    )
    understood = same and set(axes) <= set("YX" + DEPTH_AXES + CHANNEL_AXES) and {"Y", "X"} <= set(axes)
    if not understood or axes.index("Y") > axes.index("X") or len(depths) > 1 or len(channels) > 1:
        raise ImageError(
            path,
            found=f"axes {axes} of size {' × '.join(map(str, shape))}",
            expected="a picture (YX), an RGB picture (YXS) or a stack (ZYX)",
            fix="save each channel and time point as a file of its own",
        )
    if not depths:
        return picture_geometry(sizes["Y"], sizes["X"])
    return Geometry(
        dimension=3, shape_zyx=(sizes[depths[0]], sizes["Y"], sizes["X"]), spacing_mm=_spacing(path)
    )


def _spacing(path: Path) -> tuple[float, float, float]:
    file = sidecar(path)
    if file is None:
        return (1.0, 1.0, 1.0)
    content = read_json(file, ImageError)
    spacing = content.get("spacing") if isinstance(content, dict) else None
    numbers = (
        isinstance(spacing, list)
        and len(spacing) == 3
        and all(isinstance(value, int | float) and not isinstance(value, bool) for value in spacing)
        and all(0 < value < math.inf for value in spacing)
    )
    if not numbers or spacing is None:
        raise ImageError(
            file,
            found=f"spacing {spacing!r}",
            expected="three positive numbers, z, y, x in mm",
            fix='write {"spacing": [2.0, 0.5, 0.5]} with the numbers of this image',
        )
    return (float(spacing[0]), float(spacing[1]), float(spacing[2]))
