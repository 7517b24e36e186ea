"""NIfTI: the header through SimpleITK, the voxels decoded and checked here.

ITK reads a truncated or damaged `.nii.gz` without a word and leaves zeros or noise in the volume, so the gzip
stream is decompressed here, where its checksum is verified, and the voxels are laid out by nibabel's header.
Headers that ITK refuses (NIfTI-2, direction cosines that are not orthonormal) are read by nibabel too.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.geometry import Geometry, Image, is_orthonormal
from balrsam_pipeline.imageio.itk_guard import LARGEST_RATIO

GZIP_MAGIC = b"\x1f\x8b"
HEADER_BYTES = 540  # the longer one, NIfTI-2
SPATIAL_FIELDS = (
    *(
        "qform_code",
        "sform_code",
        "quatern_b",
        "quatern_c",
        "quatern_d",
        "qoffset_x",
        "qoffset_y",
        "qoffset_z",
    ),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)
GEOMETRY_FIELDS = ("magic", "datatype", "dim", "pixdim", *SPATIAL_FIELDS)
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def read(path: Path) -> Image:
    """Read a NIfTI volume or 2D image; `scl_slope` and `scl_inter` are applied (the result is then floating
    point).

    Raises:
        ImageError: missing, truncated, damaged, no NIfTI, or with a time axis.
    """
    content = _decompressed(path)
    header = _header(path, content[:HEADER_BYTES])
    with _absurd_values_named(path):
        geometry = _geometry(path, header)
        return Image(_voxels(path, header, content, geometry), geometry)


def read_geometry(path: Path) -> Geometry:
    """Read the header alone.

    Raises:
        ImageError: missing, no NIfTI, or with a time axis.
    """
    header = _header(path, _first_bytes(path))
    with _absurd_values_named(path):
        return _geometry(path, header)


def count_axes(path: Path) -> int:
    """The number of axes that the header announces, trailing axes of length 1 not counted beyond the third.

    Raises:
        ImageError: missing or no NIfTI.
    """
    with _absurd_values_named(path):
        shape = _header(path, _first_bytes(path)).get_data_shape()
    return max((3, *(index + 1 for index, size in enumerate(shape) if size > 1)))


def read_four_axes(path: Path) -> Image:
    """Read a volume whose channels lie on the fourth axis, as (channel, z, y, x).

    Raises:
        ImageError: missing, truncated, damaged, no NIfTI, or with a fifth axis.
    """
    content = _decompressed(path)
    header = _header(path, content[:HEADER_BYTES])
    with _absurd_values_named(path):
        geometry = simpleitk_io.read_geometry(path, "NiftiImageIO", channels_on_fourth_axis=True)
        return Image(_voxels(path, header, content, geometry), geometry)


def write(path: Path, image_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write one channel; through nibabel where the direction cosines are not orthonormal, because ITK would
    change them."""
    if is_orthonormal(geometry.direction):
        simpleitk_io.write(path, image_czyx, geometry)
        return
    affine = np.eye(4)
    direction = np.array(geometry.direction).reshape(3, 3)
    affine[:3, :3] = RAS_TO_LPS @ direction @ np.diag(geometry.spacing_mm[::-1])
    affine[:3, 3] = RAS_TO_LPS @ np.array(geometry.origin_mm)
    image = nib.Nifti1Image(image_czyx[0].T, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def write_like(path: Path, label_zyx: npt.NDArray[Any], geometry: Geometry, like: Path) -> bool:
    """Write a label map whose header holds the spatial fields of the NIfTI-1 file `like` bit for bit.

    ITK computes them anew from direction cosines, which moves oblique directions by a few 1e-8.

    Returns:
        False, with nothing written, where `like` is no NIfTI-1 file of this geometry.
    """
    source = _header(like, _first_bytes(like))
    if type(source) is not nib.Nifti1Header or _geometry(like, source) != geometry:
        return False
    source = source.as_byteswapped("<")
    header = nib.Nifti1Header(endianness="<")
    for name in SPATIAL_FIELDS:
        header[name] = source[name]
    header.set_data_dtype(label_zyx.dtype)
    array = label_zyx if geometry.dimension == 3 else label_zyx[0]
    header.set_data_shape(array.T.shape)
    header["pixdim"] = source["pixdim"]
    nib.save(nib.Nifti1Image(array.T, None, header), path)
    return True


def _decompressed(path: Path) -> bytes:
    content = simpleitk_io.read_bytes(path)
    if not content.startswith(GZIP_MAGIC):
        return content
    (size,) = struct.unpack(
        "<I", content[-4:]
    )  # the trailer holds the size modulo 2³², so that one allocation does
    try:
        whole = zlib.decompress(content, wbits=31, bufsize=max(1, min(size, len(content) * LARGEST_RATIO)))
        return whole if len(whole) == size else b"".join(_members(content))
    except zlib.error as problem:
        raise _damaged(path, f"a damaged gzip file ({problem})") from None


def _members(content: bytes) -> Iterator[bytes]:
    """The parts of a gzip file of several members, as bgzip writes them."""
    while content.startswith(GZIP_MAGIC):
        member = zlib.decompressobj(wbits=31)
        yield member.decompress(content)
        if not member.eof:
            raise zlib.error("it ends too early")
        content = member.unused_data


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            start = stream.read(4096)
    except OSError as problem:
        raise simpleitk_io.unreadable(path, problem) from None
    if not start.startswith(GZIP_MAGIC):
        return start[:HEADER_BYTES]
    try:
        return zlib.decompressobj(wbits=31).decompress(start, HEADER_BYTES)
    except zlib.error as problem:
        raise _damaged(path, f"a damaged gzip file ({problem})") from None


def _header(path: Path, start: bytes) -> Any:
    for kind, length in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        if len(start) >= length and length in struct.unpack("<i", start[:4]) + struct.unpack(">i", start[:4]):
            return kind(start[:length], check=False)
    raise _damaged(path, "no NIfTI header")


@dataclass(frozen=True, slots=True)
class _GeometryHeader:
    """All that the geometry of a NIfTI file depends on, and one file that has it."""

    values: bytes
    path: Path = field(compare=False)


@lru_cache(maxsize=1024)
def _itk_geometry(header: _GeometryHeader) -> Geometry:
    """ITK takes a millisecond a header, and an image, its label and often whole datasets have the same."""
    return simpleitk_io.read_geometry(header.path, "NiftiImageIO")


def _geometry(path: Path, header: Any) -> Geometry:
    shape = _spatial_shape(path, header)
    values = header.endianness.encode() + b"".join(header[name].tobytes() for name in GEOMETRY_FIELDS)
    try:
        return _itk_geometry(_GeometryHeader(values, path))
    except ImageError:  # ITK refuses NIfTI-2 and direction cosines that are not orthonormal
        affine = header.get_best_affine()
        columns = RAS_TO_LPS @ affine[:3, :3]
        spacing = np.linalg.norm(columns, axis=0)
        if len(shape) == 2 or not np.isfinite(affine).all() or abs(np.linalg.det(columns)) < 1e-12:
            raise
    return Geometry(
        dimension=3,
        shape_zyx=(shape[2], shape[1], shape[0]),
        spacing_mm=(float(spacing[2]), float(spacing[1]), float(spacing[0])),
        origin_mm=tuple(float(value) for value in RAS_TO_LPS @ affine[:3, 3]),  # type: ignore[arg-type]
        direction=tuple(float(value) for value in (columns / spacing).ravel()),
    )


def _spatial_shape(path: Path, header: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in header.get_data_shape())
    if len(shape) > 3 and shape[3] > 1:
        raise simpleitk_io.too_many_axes(path, shape)
    if len(shape) < 2 or min(shape) < 1:
        raise _damaged(path, f"a NIfTI header with the size {' × '.join(map(str, shape)) or 'none'}")
    return shape[:3]


def _voxels(path: Path, header: Any, content: bytes, geometry: Geometry) -> npt.NDArray[Any]:
    dtype, offset, shape = (
        header.get_data_dtype(),
        int(header.get_data_offset()),
        tuple(int(size) for size in header.get_data_shape()),
    )
    count = int(np.prod(shape, dtype=np.int64))
    if offset + count * dtype.itemsize > len(content):
        raise _damaged(
            path,
            f"{len(content) - offset} bytes of voxels where the header announces {count * dtype.itemsize}",
        )
    array = np.frombuffer(content, dtype, count, offset)
    if dtype.fields:  # RGB24 and RGBA32
        array = np.stack([array[name] for name in dtype.names or ()])
    elif not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    slope, inter = header.get_slope_inter()
    if slope is not None and (slope, inter) != (1.0, 0.0):
        scaled: npt.NDArray[np.floating] = array.astype(np.float32 if dtype.itemsize <= 2 else np.float64)
        array = scaled * float(slope) + float(inter)
    return array.reshape(-1, *geometry.shape_zyx)


@contextmanager
def _absurd_values_named(path: Path) -> Iterator[None]:
    """Turn what nibabel and NumPy raise on headers that no program writes into an ImageError."""
    try:
        yield
    except (
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        ZeroDivisionError,
        HeaderDataError,
        struct.error,
    ) as problem:
        raise _damaged(
            path, f"a header that makes no sense ({type(problem).__name__}: {problem})"[:200]
        ) from None


def _damaged(path: Path, found: str) -> ImageError:
    return ImageError(
        path,
        found=found,
        expected="a whole NIfTI file",
        fix="copy or export the file again; leave the case out if the original is damaged",
    )
