"""MHA, NRRD, GIPL and NIfTI headers through SimpleITK; the only place where (z, y, x) meets SimpleITK's (x,
y, z)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio.geometry import THICK_MM, Geometry, Image
from balrsam_pipeline.imageio.itk_guard import refuse_unsound_header
from balrsam_pipeline.imageio.itk_messages import itk_messages_of
from balrsam_pipeline.imageio.packed_voxels import verify_compressed_voxels

GIPL = ".gipl"
IMAGE_IO = {".mha": "MetaImageIO", ".nrrd": "NrrdImageIO", GIPL: "GiplImageIO"}  # no other format is tried
KNOWN_AS: dict[str, np.dtype[Any]] = {
    "bool": np.dtype(np.uint8),
    "float16": np.dtype(np.float32),
}  # types that ITK does not know


def read(path: Path) -> Image:
    """Read a volume or 2D image; the components of a vector image become channels.

    Raises:
        ImageError: missing, damaged, of an unknown format, or with a time axis.
    """
    announced = refuse_unsound_header(path)
    if announced is not None:
        verify_compressed_voxels(path, announced)
    with itk_messages_of(path):
        try:
            image = sitk.ReadImage(str(path), imageIO=IMAGE_IO[path.suffix.lower()])
        except RuntimeError as problem:
            raise unreadable(path, problem) from None
    geometry = geometry_of(path, image)
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        array = np.moveaxis(array, -1, 0)
    return Image(np.ascontiguousarray(array.reshape(-1, *geometry.shape_zyx)), geometry)


def read_geometry(path: Path, image_io: str = "", channels_on_fourth_axis: bool = False) -> Geometry:
    """Read the header alone.

    Args:
        image_io: SimpleITK's name of the format, by default that of the ending; no other is tried.
        channels_on_fourth_axis: whether a fourth axis is allowed; it is left out of the geometry.

    Raises:
        ImageError: missing, damaged, of an unknown format, or with a time axis.
    """
    refuse_unsound_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io or IMAGE_IO[path.suffix.lower()])
    with itk_messages_of(path):
        try:
            reader.ReadImageInformation()
        except RuntimeError as problem:
            raise unreadable(path, problem) from None
    return geometry_of(path, reader, channels_on_fourth_axis)


def write(path: Path, image_czyx: npt.NDArray[Any], geometry: Geometry) -> None:
    """Write an image of one channel (or several, as a vector image), compressed, with exactly this geometry.

    Raises:
        ImageError: the format does not hold voxels of this type, or SimpleITK cannot write it.
    """
    _require_type(path, image_czyx.dtype)
    image = to_simpleitk(image_czyx, geometry)
    with itk_messages_of(path):
        try:
            sitk.WriteImage(image, str(path), useCompression=True)
        except RuntimeError as problem:
            raise ImageError(
                path,
                found=f"cannot be written: {_reason(problem)}",
                expected="room and permission",
                fix="check the disk and the folder",
            ) from None


def _require_type(path: Path, dtype: np.dtype[Any]) -> None:
    if path.suffix.lower() == GIPL and dtype.kind in "iu" and dtype.itemsize > 2:
        raise ImageError(
            path,
            found=f"{dtype} voxels, which GIPL does not hold",
            expected="whole numbers of 8 or 16 bits, or floating point",
            fix="write them as .nii.gz, .mha or .nrrd",
        )


def to_simpleitk(image_czyx: npt.NDArray[Any], geometry: Geometry) -> sitk.Image:
    """A SimpleITK image of one channel, or of several as vector components; booleans become uint8, half
    precision float32."""
    known: np.dtype[Any] = KNOWN_AS.get(image_czyx.dtype.name, image_czyx.dtype.newbyteorder("="))
    image_czyx = image_czyx.astype(known, copy=False)
    array = image_czyx if geometry.dimension == 3 else image_czyx[:, 0]
    vector = image_czyx.shape[0] > 1
    image = sitk.GetImageFromArray(np.moveaxis(array, 0, -1) if vector else array[0], isVector=vector)
    axes = geometry.dimension
    image.SetSpacing(geometry.spacing_mm[::-1][:axes])
    image.SetOrigin(geometry.origin_mm[:axes])
    image.SetDirection(np.array(geometry.direction).reshape(3, 3)[:axes, :axes].ravel().tolist())
    return image


def reoriented(image: Image, orientation: str) -> Image:
    """Turn and flip the axes of a volume so that it is stored in `orientation` ("LPS", "RAS" …); no voxel is
    interpolated."""
    turned = sitk.DICOMOrient(to_simpleitk(image.data, image.geometry), orientation)
    array = sitk.GetArrayFromImage(turned)
    channels = np.moveaxis(array, -1, 0) if image.data.shape[0] > 1 else array[None]
    return Image(np.ascontiguousarray(channels), geometry_of(Path("reoriented volume"), turned))


def unreadable(path: Path, problem: Exception) -> ImageError:
    """The error for a file that a library could not read."""
    if not path.exists():
        return ImageError(
            path, found="no such file", expected="an image file", fix="check the path, or add the file"
        )
    return ImageError(
        path,
        found=f"cannot be read: {_reason(problem)}",
        expected=f"a whole {''.join(path.suffixes[-2:]).lstrip('.')} file",
        fix="copy or export the file again; leave the case out if the original is damaged",
    )


def too_many_axes(path: Path, shape: tuple[int, ...]) -> ImageError:
    """The error for an image with a fourth axis (time, or channels in one file)."""
    return ImageError(
        path,
        found=f"{len(shape)} axes ({' × '.join(map(str, shape))})",
        expected="one channel per file, 2 or 3 axes",
        fix="split it into CASE_0000, CASE_0001, …: balrsam convert does this for Medical Segmentation "
        "Decathlon folders",
    )


def geometry_of(path: Path, image: Any, channels_on_fourth_axis: bool = False) -> Geometry:
    """The geometry of a SimpleITK image, or of a reader that has read a header.

    Raises:
        ImageError: it has a time axis, fewer than two axes, no voxel, or numbers that are not finite.
    """
    size, axes = image.GetSize(), image.GetDimension()
    if axes < 2 or min(size) < 1:
        raise unreadable(path, ValueError(f"an image of size {' × '.join(map(str, size))}"))
    if max((1, *size[4 if channels_on_fourth_axis else 3 :])) > 1:
        raise too_many_axes(path, size)
    spacing = tuple(abs(float(value)) for value in image.GetSpacing()[:3])
    matrix = np.eye(3)
    kept = min(axes, 3)
    matrix[:kept, :kept] = np.array(image.GetDirection(), dtype=np.float64).reshape(axes, axes)[:kept, :kept]
    origin = tuple(float(value) for value in image.GetOrigin()[:3])
    direction = tuple(float(value) for value in matrix.ravel())
    if not np.isfinite((*spacing, *origin, *direction)).all() or min(spacing) <= 0:
        raise ImageError(
            path,
            found=f"a header with spacing {spacing}, origin {origin}, direction {direction}",
            expected="finite numbers, and spacing above 0",
            fix="write the header again with the geometry of the scan it comes from",
        )
    if kept == 2:
        return Geometry(
            dimension=2,
            shape_zyx=(1, size[1], size[0]),
            spacing_mm=(THICK_MM * max(spacing), spacing[1], spacing[0]),
            origin_mm=(origin[0], origin[1], 0.0),
            direction=direction,
        )
    return Geometry(
        dimension=3,
        shape_zyx=(size[2], size[1], size[0]),
        spacing_mm=(spacing[2], spacing[1], spacing[0]),
        origin_mm=(origin[0], origin[1], origin[2]),
        direction=direction,
    )


def _reason(problem: Exception) -> str:
    lines = [line.strip() for line in str(problem).splitlines() if line.strip()]
    return (lines[-1] if lines else type(problem).__name__)[:200]
