"""Arrays in `.npz` files, as the CVPR challenges "Segment Anything in Medical Images on Laptop" (2024) and
"Foundation Models for Interactive 3D Biomedical Image Segmentation" (2025) have them.

`imgs` holds voxels (z, y, x), or a picture (y, x) or (y, x, 3); `gts` the label map that was drawn, `segs`
the one that was predicted; `spacing` is (x, y, z) in mm, as SimpleITK gives it, and left out for pictures.

Source: github.com/bowang-lab/MedSAM (pre_CT_MR.py, inference_3D.py of the branch LiteMedSAM),
github.com/JunMa11/CVPR-MedSegFMCompetition (CVPR25_iter_eval.py).
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio.content import kind_of_content, not_this_format
from balrsam_pipeline.imageio.geometry import Geometry, Image, picture_geometry
from balrsam_pipeline.imageio.inflate import LARGEST_RATIO
from balrsam_pipeline.imageio.simpleitk_io import unreadable

ENDING = ".npz"
IMAGE, DRAWN, PREDICTED, SPACING = "imgs", "gts", "segs", "spacing"
COLOURS = (3, 4)  # RGB, RGBA on the last axis
MOST_SPACINGS = 16  # numbers; more are no spacing
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read(path: Path) -> Image:
    """Read `imgs`: a volume, or a picture whose colours become channels.

    Raises:
        ImageError: missing, damaged, without `imgs`, or of axes with no meaning here.
    """
    return _read(path, (IMAGE,))


def read_label(path: Path) -> Image:
    """Read `segs`, or `gts` where there is none.

    Raises:
        ImageError: as `read`.
    """
    return _read(path, (PREDICTED, DRAWN))


def read_geometry(path: Path) -> Geometry:
    """Read shape and spacing, without the voxels.

    Raises:
        ImageError: as `read`.
    """
    with _opened(path) as archive:
        name = _present(path, archive, (IMAGE, PREDICTED, DRAWN))
        with archive.open(f"{name}.npy") as member:
            shape = _header(member, archive.getinfo(f"{name}.npy"))[0]
        spacing = _spacing(path, archive)
    return _laid_out(path, shape, spacing)[1]


def holds(path: Path, name: str) -> bool:
    """Whether a file holds an array of this name.

    Raises:
        ImageError: it is missing or no `.npz` file.
    """
    with _opened(path) as archive:
        return f"{name}.npy" in archive.namelist()


def has_spacing(path: Path) -> bool:
    """Whether a file says how large its voxels are; a picture's (x, y) alone does not.

    Raises:
        ImageError: it is missing, or no `.npz` file, or its spacing is none.
    """
    with _opened(path) as archive:
        return _spacing(path, archive) is not None


def write(path: Path, image_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write an image as `imgs`, compressed."""
    _write(path, IMAGE, image_czyx, geometry)


def write_label(path: Path, label_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write a label map as `segs`, compressed."""
    _write(path, PREDICTED, label_czyx, geometry)


def _write(path: Path, name: str, data_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    array = data_czyx[0] if data_czyx.shape[0] == 1 else np.moveaxis(data_czyx, 0, -1)
    arrays: dict[str, Any] = {name: array[0] if geometry.dimension == 2 else array}
    if geometry.dimension == 3:
        arrays[SPACING] = np.array(geometry.spacing_mm[::-1], dtype=np.float64)
    with path.open("wb") as file:  # given a name, NumPy adds an ending to temporary ones
        np.savez_compressed(file, **arrays)


def _read(path: Path, names: Sequence[str]) -> Image:
    with _opened(path) as archive:
        array = _array(archive, _present(path, archive, names))
        spacing = _spacing(path, archive)
    if array.dtype.kind not in "biuf":
        raise ImageError(
            path, found=f"voxels of type {array.dtype}", expected="numbers", fix="save plain numbers"
        )
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    channels, geometry = _laid_out(path, array.shape, spacing)
    moved = np.moveaxis(array, -1, 0) if channels > 1 else array
    return Image(np.ascontiguousarray(moved).reshape(channels, *geometry.shape_zyx), geometry)


def _laid_out(
    path: Path, shape: tuple[int, ...], spacing: tuple[float, float, float] | None
) -> tuple[int, Geometry]:
    """How many channels an array has, and the grid of its voxels: with three axes it is a volume, unless the
    last one can be colours and nothing says how far slices are apart."""
    picture = len(shape) == 2 or (len(shape) == 3 and shape[-1] in COLOURS and spacing is None)
    coloured = len(shape) == 4 and shape[-1] in COLOURS
    if 0 in shape or not (picture or coloured or len(shape) == 3):
        raise ImageError(
            path,
            found=f"an array of shape {' × '.join(map(str, shape)) or '()'}",
            expected="a volume (z, y, x), or a picture (y, x) or (y, x, 3)",
            fix="save each image as a file of its own",
        )
    if picture:
        return (shape[2] if len(shape) == 3 else 1), picture_geometry(shape[0], shape[1])
    geometry = Geometry(
        dimension=3, shape_zyx=(shape[0], shape[1], shape[2]), spacing_mm=spacing or (1.0, 1.0, 1.0)
    )
    return (shape[3] if coloured else 1), geometry


def _spacing(path: Path, archive: zipfile.ZipFile) -> tuple[float, float, float] | None:
    """(z, y, x) in mm; None where the file says nothing, or of a picture (x, y) alone."""
    if f"{SPACING}.npy" not in archive.namelist():
        return None
    with archive.open(f"{SPACING}.npy") as member:
        count = math.prod(_header(member, archive.getinfo(f"{SPACING}.npy"))[0])
    values = _array(archive, SPACING).ravel() if count <= MOST_SPACINGS else np.zeros(0)
    if values.size == 2:
        return None
    if values.size != 3 or values.dtype.kind not in "iuf" or not (np.isfinite(values) & (values > 0)).all():
        raise ImageError(
            path,
            found=f"{SPACING} of {count} values" if values.size != 3 else f"{SPACING} {values.tolist()}",
            expected="three positive numbers, x, y, z in mm",
            fix=f"save the image again with its {SPACING}",
        )
    x, y, z = (float(value) for value in values)
    return z, y, x


def _present(path: Path, archive: zipfile.ZipFile, names: Sequence[str]) -> str:
    there = archive.namelist()
    for name in names:
        if f"{name}.npy" in there:
            return name
    arrays = [name.removesuffix(".npy") for name in there if name.endswith(".npy")]
    raise ImageError(
        path,
        found=f"the arrays {', '.join(arrays[:10]) or 'none'}",
        expected=" or ".join(names),
        fix=f"save the array under that name: numpy.savez_compressed(file, {names[-1]}=…)",
    )


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive of a file; whatever goes wrong with it is an ImageError."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except zipfile.BadZipFile as problem:
        if kind_of_content(path) != "a zip archive":
            raise not_this_format(path, "NPZ") from None
        raise unreadable(path, problem) from None
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, zlib.error, LZMAError) as problem:
        raise unreadable(path, problem) from None


def _array(archive: zipfile.ZipFile, name: str) -> npt.NDArray[Any]:
    """An array, of which no more is believed than the file has room for; never a pickle."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as member:
        shape, by_columns, dtype = _header(member, info)
        content = member.read(math.prod(shape) * dtype.itemsize + 1)  # up to the end, for its checksum
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C").copy()


def _header(member: IO[bytes], info: zipfile.ZipInfo) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and type, checked against the size of the member."""
    version = np.lib.format.read_magic(member)
    if version not in HEADERS:
        raise ValueError(f"NumPy's format {version} of {info.filename}")
    try:
        shape, by_columns, dtype = HEADERS[version](member)
    except (TokenError, SyntaxError, TypeError, MemoryError) as problem:  # of text that is no Python
        raise ValueError(f"{info.filename}: no header of NumPy's ({problem})") from None
    size = math.prod(shape) * dtype.itemsize
    room = info.file_size - member.tell()
    if dtype.hasobject or min(shape, default=0) < 0 or size != room:
        raise ValueError(f"{info.filename}: {room} bytes for an array {shape} of {dtype}")
    if info.file_size > LARGEST_RATIO * info.compress_size + 64:
        raise ValueError(f"{info.filename}: {info.compress_size} bytes that announce {info.file_size}")
    return shape, by_columns, dtype
