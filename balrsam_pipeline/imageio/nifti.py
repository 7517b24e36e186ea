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
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.content import not_this_format
from balrsam_pipeline.imageio.geometry import Geometry, Image, is_orthonormal
from balrsam_pipeline.imageio.inflate import GZIP_MAGIC, PIECE_BYTES, Unpacked, inflated
from balrsam_pipeline.imageio.nifti_contradiction import contradiction
from balrsam_pipeline.imageio.packed_voxels import SLACK_BYTES, too_much_packed

HEADER_BYTES = 540  # the longer one, NIfTI-2
ROUNDING = 1e-5  # of float32
WIDEST_STEP = 0.5  # of scaled labels: with wider steps half a step is no rounding error
FLOAT32_STEPS = 1 << 23  # float32 tells that many steps from zero apart
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
UNIT_BITS, MM_PER_UNIT = 7, {1: 1000.0, 3: 0.001}  # of xyzt_units: metres, micrometres; others are mm
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def read(path: Path) -> Image:
    """Read a NIfTI volume or 2D image; `scl_slope` and `scl_inter` are applied (the result is then floating
    point).

    Raises:
        ImageError: missing, truncated, damaged, no NIfTI, or with a time axis.
    """
    return _read(path, as_label=False)


def read_label(path: Path) -> Image:
    """As `read`, but whole numbers that were stored as scaled integers (nibabel does so with floats) are
    rounded within half the step that they were stored with.

    Raises:
        ImageError: as `read`.
    """
    return _read(path, as_label=True)


def _read(path: Path, as_label: bool) -> Image:
    with _opened(path) as content, _absurd_values_named(path):
        start = content.fill(bytearray(), HEADER_BYTES)
        header = _header(path, bytes(start))
        geometry = _geometry(path, header)
        return Image(_voxels(path, header, start, content, geometry, as_label), geometry)


def header_contradiction(path: Path) -> str | None:
    """What is doubtful about the voxel size or the place in a NIfTI header; None where nothing is.

    Raises:
        ImageError: missing or no NIfTI.
    """
    with _absurd_values_named(path):
        return contradiction(_header(path, _start(path)))


def read_geometry(path: Path) -> Geometry:
    """Read the header alone.

    Raises:
        ImageError: missing, no NIfTI, or with a time axis.
    """
    header = _header(path, _start(path))
    with _absurd_values_named(path):
        return _geometry(path, header)


def count_axes(path: Path) -> int:
    """The number of axes that the header announces, trailing axes of length 1 not counted beyond the third.

    Raises:
        ImageError: missing or no NIfTI.
    """
    with _absurd_values_named(path):
        shape = _header(path, _start(path)).get_data_shape()
    return max((3, *(index + 1 for index, size in enumerate(shape) if size > 1)))


def read_four_axes(path: Path) -> Image:
    """Read a volume whose channels lie on the fourth axis, as (channel, z, y, x).

    Raises:
        ImageError: missing, truncated, damaged, no NIfTI, or with a fifth axis.
    """
    with _opened(path) as content, _absurd_values_named(path):
        start = content.fill(bytearray(), HEADER_BYTES)
        header = _header(path, bytes(start))
        geometry = simpleitk_io.read_geometry(path, "NiftiImageIO", channels_on_fourth_axis=True)
        return Image(_voxels(path, header, start, content, geometry), geometry)


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
    source = _header(like, _start(like))
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


@contextmanager
def _opened(path: Path) -> Iterator[Unpacked]:
    """The content of a NIfTI file, unpacked on the way where it is packed; damage met inside is named.

    Raises:
        ImageError: missing, unreadable, or a damaged gzip file.
    """
    try:
        with path.open("rb") as stream:
            packed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            stream.seek(0)
            pieces = inflated(stream) if packed else iter(partial(stream.read, PIECE_BYTES), b"")
            yield Unpacked(pieces)
    except OSError as problem:
        raise simpleitk_io.unreadable(path, problem) from None
    except zlib.error as problem:
        raise _damaged(path, f"a damaged gzip file ({problem})") from None


def _start(path: Path) -> bytes:
    with _opened(path) as content:
        return bytes(content.fill(bytearray(), HEADER_BYTES))


def _header(path: Path, start: bytes) -> Any:
    for kind, length in ((nib.Nifti1Header, 348), (nib.Nifti2Header, 540)):
        if len(start) >= length and length in struct.unpack("<i", start[:4]) + struct.unpack(">i", start[:4]):
            return kind(start[:length], check=False)
    raise not_this_format(path, "NIfTI", start)


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
        affine = np.diag([*[_mm_per_unit(header)] * 3, 1.0]) @ header.get_best_affine()
        columns = RAS_TO_LPS @ affine[:3, :3]
        spacing = np.linalg.norm(columns, axis=0)
        if not np.isfinite(affine).all():
            raise ImageError(
                path,
                found="a header whose sform or qform is not finite (NaN or infinite)",
                expected="finite numbers",
                fix="write the geometry of the scan again, with nibabel: image.set_sform(affine) and "
                "image.set_qform(affine)",
            ) from None
        if len(shape) == 2 or abs(np.linalg.det(columns)) <= 1e-12 * spacing.prod():
            raise
    return Geometry(
        dimension=3,
        shape_zyx=(shape[2], shape[1], shape[0]),
        spacing_mm=(float(spacing[2]), float(spacing[1]), float(spacing[0])),
        origin_mm=tuple(float(value) for value in RAS_TO_LPS @ affine[:3, 3]),  # type: ignore[arg-type]
        direction=tuple(float(value) for value in (columns / spacing).ravel()),
    )


def _mm_per_unit(header: Any) -> float:
    return MM_PER_UNIT.get(int(header["xyzt_units"]) & UNIT_BITS, 1.0)


def _spatial_shape(path: Path, header: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in header.get_data_shape())
    if len(shape) > 3 and shape[3] > 1:
        raise simpleitk_io.too_many_axes(path, shape)
    if len(shape) < 2 or min(shape) < 1:
        raise _damaged(path, f"a NIfTI header with the size {' × '.join(map(str, shape)) or 'none'}")
    return shape[:3]


def _voxels(
    path: Path, header: Any, start: bytearray, content: Unpacked, geometry: Geometry, as_label: bool = False
) -> npt.NDArray[Any]:
    """The voxels (channel, z, y, x), scaled; `start` is what was taken of the content already."""
    dtype, shape = header.get_data_dtype(), tuple(int(size) for size in header.get_data_shape())
    offset = int(header.get_data_offset())
    count = int(np.prod(shape, dtype=np.int64))
    announced = offset + count * dtype.itemsize
    if dtype.kind == "c":
        raise _unsupported(
            path, f"complex voxels ({dtype})", "save magnitude or phase as an image of its own"
        )
    present = len(content.fill(start, announced))
    if present < announced:
        raise _damaged(
            path,
            f"{max(0, present - offset)} bytes of voxels where the header announces {announced - offset}",
        )
    if not content.finish(SLACK_BYTES):
        raise too_much_packed(path, announced)
    array = np.frombuffer(start, dtype, count, offset)
    if dtype.fields:  # RGB24 and RGBA32
        array = np.stack([array[name] for name in dtype.names or ()])
    elif not dtype.isnative:
        array = array.astype(dtype.newbyteorder("="))
    slope, inter = header.get_slope_inter()
    if slope is not None and (slope, inter) != (1.0, 0.0):
        array = _scaled(array, float(slope), float(inter), as_label)
    return array.reshape(-1, *geometry.shape_zyx)


def _scaled(stored: npt.NDArray[Any], slope: float, inter: float, as_label: bool) -> npt.NDArray[np.floating]:
    """slope × stored + inter; in float32 only where that keeps the steps apart."""
    narrow = stored.dtype.itemsize <= 2 and abs(inter) < FLOAT32_STEPS * abs(slope)
    values: npt.NDArray[Any] = stored.astype(np.float32 if narrow else np.float64)
    values = values * slope + inter
    if as_label and stored.dtype.kind in "iu" and abs(slope) <= WIDEST_STEP:
        whole: npt.NDArray[Any] = np.rint(values)
        if np.all(np.abs(values - whole) <= abs(slope) / 2 + ROUNDING):
            return whole
    return values


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


def _unsupported(path: Path, found: str, fix: str) -> ImageError:
    return ImageError(path, found=found, expected="one real number per voxel", fix=fix)


def _damaged(path: Path, found: str) -> ImageError:
    return ImageError(
        path,
        found=found,
        expected="a whole NIfTI file",
        fix="copy or export the file again; leave the case out if the original is damaged",
    )
