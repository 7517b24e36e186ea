"""TIFF through tifffile: pictures, RGB pictures and 3D stacks of any bit depth.

A stack's spacing comes from a JSON file `{"spacing": [z, y, x]}` beside it, named like the image
(`CASE_0000.json`) or like the case (`CASE.json`), as nnU-Net's Tiff3DIO has it; without one it is 1 mm.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.geometry import Geometry, Image, picture_geometry

LARGEST_RATIO = 40_000  # of the best compression that TIFF knows
DEPTH_AXES, CHANNEL_AXES = "ZQIT", "SC"  # tifffile's letters


def read(path: Path) -> Image:
    """Read a picture (colours become channels) or a stack (z, y, x).

    Raises:
        ImageError: missing, damaged, of axes with no meaning here, or with a malformed spacing file.
    """
    try:
        with tifffile.TiffFile(path) as file:
            series = _first_series(path, file)
            axes, array = str(series.axes), np.asarray(series.asarray())
    except Exception as problem:  # tifffile raises many kinds on damaged files
        raise simpleitk_io.unreadable(path, problem) from None
    geometry = _geometry(path, axes, array.shape)
    order = sorted(range(array.ndim), key=lambda axis: _rank(axes[axis]))
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    return Image(np.ascontiguousarray(array.transpose(order).reshape(-1, *geometry.shape_zyx)), geometry)


def read_geometry(path: Path) -> Geometry:
    """Read the header and the spacing file alone.

    Raises:
        ImageError: as `read`.
    """
    try:
        with tifffile.TiffFile(path) as file:
            series = _first_series(path, file)
            axes, shape = str(series.axes), series.shape
    except Exception as problem:  # tifffile raises many kinds on damaged files
        raise simpleitk_io.unreadable(path, problem) from None
    return _geometry(path, axes, shape)


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


def write_sidecar(path: Path, geometry: Geometry) -> None:
    """Write the spacing file of a stack; pictures have none."""
    if geometry.dimension == 3:
        write_json(path.with_suffix(".json"), {"spacing": list(geometry.spacing_mm)})


def sidecar(path: Path) -> Path | None:
    """The spacing file of a TIFF image, or None where there is none."""
    candidates = (path.with_suffix(".json"), path.with_name(re.sub(r"_\d{4}$", "", path.stem) + ".json"))
    return next(
        (candidate for candidate in candidates if candidate.is_file() and candidate.name != "dataset.json"),
        None,
    )


def _first_series(path: Path, file: Any) -> Any:
    """The first image of a file, of which no more is believed than the file has room for."""
    len(
        file.pages
    )  # finds them all, and sees where their chain runs in a circle, which iterating over them does not
    series = file.series[0]
    compressed = series.keyframe.compression != 1
    if series.size < 1 or series.size * series.dtype.itemsize > path.stat().st_size * (
        LARGEST_RATIO if compressed else 1
    ):
        raise ValueError(
            f"{path.stat().st_size} bytes, where the header announces {' × '.join(map(str, series.shape))} "
            "pixels"
        )
    return series


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
        and all(isinstance(value, (int, float)) and value > 0 for value in spacing)
    )
    if not numbers or spacing is None:
        raise ImageError(
            file,
            found=f"spacing {spacing!r}",
            expected="three positive numbers, z, y, x in mm",
            fix='write {"spacing": [2.0, 0.5, 0.5]} with the numbers of this image',
        )
    return (float(spacing[0]), float(spacing[1]), float(spacing[2]))
