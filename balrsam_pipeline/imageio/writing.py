"""Writing labels and images with the geometry of the image that they belong to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.imageio import nifti, tiff
from balrsam_pipeline.imageio.formats import file_ending_of, format_of
from balrsam_pipeline.imageio.geometry import (
    IDENTITY,
    Geometry,
    Image,
    direction_differs,
    origin_differs,
)
from balrsam_pipeline.imageio.reading import as_label

LOG = logging.getLogger(__name__)
NIFTI, TIFF = (".nii", ".nii.gz"), (".tif", ".tiff")


def write_label(
    path: Path, label_zyx: npt.NDArray[Any], geometry: Geometry, like: Path | None = None
) -> None:
    """Write a label map, atomically and compressed, as the smallest unsigned type that holds its values.

    Args:
        label_zyx: whole numbers from 0 to 65535, of the geometry's shape.
        geometry: the geometry of the image that the label belongs to.
        like: the file of that image; where both are NIfTI, its header's spatial fields are taken over bit for
            bit.

    Raises:
        ImageError: values or shape do not fit, the format would change values (JPEG), or the file cannot be
            written.

    Example:
        >>> import tempfile
        >>> from balrsam_pipeline.imageio import read_label
        >>> path = Path(tempfile.mkdtemp()) / "case.nii.gz"
        >>> grid = Geometry(dimension=3, shape_zyx=(2, 3, 4), spacing_mm=(3.0, 1.0, 1.0))
        >>> write_label(path, np.ones((2, 3, 4)), grid)
        >>> label = read_label(path)
        >>> label.data.shape, label.data.dtype.name, label.geometry.spacing_mm
        ((1, 2, 3, 4), 'uint8', (3.0, 1.0, 1.0))
    """
    if format_of(path).lossy:
        raise ImageError(
            path,
            found="a label in JPEG, which changes values",
            expected="a lossless format",
            fix="write it as .png",
        )
    label = as_label(np.asarray(label_zyx), path)
    smallest = np.uint8 if label.size == 0 or label.max() < 256 else np.uint16
    image = Image(label.astype(smallest, copy=False)[None], geometry)
    _require_shape(path, image)
    if like is not None and file_ending_of(path) in NIFTI and file_ending_of(like) in NIFTI:
        with atomic_path(path) as temporary:
            if not nifti.write_like(temporary, image.data[0], geometry, like):
                nifti.write(temporary, image.data, geometry)
        return
    _write(path, image, format_of(path).write_label or format_of(path).write)


def write_image(path: Path, image: Image) -> None:
    """Write an image in the type that its voxels have, atomically; several channels only where the format
    holds them.

    Raises:
        ImageError: the shape is not the geometry's, the format cannot hold the image, or the file cannot be
            written.
    """
    _require_shape(path, image)
    form = format_of(path)
    if image.data.shape[0] > 1 and not form.several_channels:
        raise ImageError(
            path,
            found=f"{image.data.shape[0]} channels",
            expected="one channel per file",
            fix="write CASE_0000, CASE_0001, …",
        )
    _write(path, image, form.write)


def written_beside(path: Path) -> tuple[Path, ...]:
    """The files that may be written beside an image or a label map: the spacing of a stack of TIFF."""
    return (tiff.spacing_file(path),) if path.name.lower().endswith(TIFF) else ()


def _write(path: Path, image: Image, write: Callable[[Path, npt.NDArray[Any], Geometry], None]) -> None:
    with atomic_path(path) as temporary:
        write(temporary, image.data, image.geometry)
        if written_beside(path):  # before the file is there: whoever sees it sees its spacing
            tiff.write_sidecar(path, image.geometry)
    _tell_lost_place(path, image.geometry)


def _tell_lost_place(path: Path, geometry: Geometry) -> None:
    """Warn of a volume that lies elsewhere when it is read again, by what its format does not hold."""
    differs = {"direction": direction_differs, "origin": origin_differs}
    without = replace(geometry, origin_mm=(0.0, 0.0, 0.0), direction=IDENTITY)
    lost = [what for what in format_of(path).loses if differs[what](geometry, without)]
    if lost and geometry.dimension == 3:
        LOG.warning(
            "%s: this format holds no %s, and its voxels lie elsewhere when it is read: write .nii.gz, .mha "
            "or .nrrd",
            path,
            " and no ".join(lost),
        )


def _require_shape(path: Path, image: Image) -> None:
    if image.data.shape[1:] != image.geometry.shape_zyx:
        raise ImageError(
            path,
            found=f"voxels of shape {image.data.shape[1:]}",
            expected=f"the geometry's {image.geometry.shape_zyx} (z, y, x)",
            fix="give the geometry of the image that the voxels belong to",
        )
