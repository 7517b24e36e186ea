"""Multi-frame (enhanced) DICOM: one file of which every frame says where it lies. Needs pydicom (the optional
extra `dicom`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import BalrsamError, ImageError, UsageError, installing
from balrsam_pipeline.imageio.dicom_headers import SliceHeader, volume_headers


@dataclass(frozen=True, slots=True)
class Frames:
    """A multi-frame file as a volume: a header per slice in the order of places, the number of the frame that
    each slice is, and the rescaled values (z, y, x)."""

    headers: tuple[SliceHeader, ...]
    order: tuple[int, ...]
    values_zyx: npt.NDArray[Any]


def read_dataset(file: Path) -> Any:
    """The file as pydicom reads it.

    Raises:
        UsageError: pydicom is not installed; ImageError: the file cannot be read.
    """
    try:
        import pydicom
    except ImportError:
        raise UsageError(
            file,
            found="no pydicom",
            expected="pydicom to read and write such files",
            fix=installing("dicom"),
        ) from None
    with damage_told(file, "a DICOM file"):
        return pydicom.dcmread(in_memory(file))


def in_memory(file: Path) -> io.BytesIO:
    """The content of a file: read from it, a length that the header believes in takes as much memory."""
    return io.BytesIO(file.read_bytes())


@contextmanager
def damage_told(file: Path, expected: str) -> Iterator[None]:
    """Make an ImageError of whatever is raised when values of a damaged file are asked for: pydicom decodes
    them then, and raises a dozen kinds."""
    try:
        yield
    except (BalrsamError, MemoryError):
        raise
    except Exception as problem:
        raise _wrong(file, f"cannot be read: {type(problem).__name__}: {problem}", expected) from None


def read_frames(file: Path) -> Frames:
    """Read a multi-frame file whose frames are the slices of one volume.

    Raises:
        ImageError: frames do not say where they lie, belong to several volumes, or slices are missing.
    """
    dataset = read_dataset(file)
    with damage_told(file, "frames that say where they lie, and their voxels"):
        return _frames(file, dataset)


def _frames(file: Path, dataset: Any) -> Frames:
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        raise _wrong(
            file,
            "a multi-frame file whose frames do not say where they lie",
            "enhanced DICOM, or one slice per file",
        )
    count = int(dataset.NumberOfFrames)
    try:
        headers = [_header(file, dataset, number) for number in range(count)]
    except (AttributeError, IndexError, KeyError) as problem:
        raise _wrong(file, f"a frame without its place: {problem}", "the place of every frame") from None
    ordered = volume_headers(headers)
    numbers = {header.file: number for number, header in enumerate(headers)}
    order = tuple(numbers[header.file] for header in ordered)
    try:
        stored = np.asarray(dataset.pixel_array).reshape(count, int(dataset.Rows), int(dataset.Columns))
    except (ValueError, RuntimeError) as problem:
        raise _wrong(file, f"voxels that cannot be read: {problem}", "grey values") from None
    return Frames(ordered, order, np.stack([_rescaled(stored[one], dataset, one) for one in order]))


def _group(dataset: Any, number: int, name: str) -> Any:
    """A functional group of a frame: its own, else what all share."""
    own = dataset.PerFrameFunctionalGroupsSequence[number]
    shared = dataset.SharedFunctionalGroupsSequence[0] if "SharedFunctionalGroupsSequence" in dataset else own
    return getattr(own if name in own else shared, name)[0]


def _header(file: Path, dataset: Any, number: int) -> SliceHeader:
    measures = _group(dataset, number, "PixelMeasuresSequence")
    scaling = _scaling(dataset, number) or {}
    tags = {
        "image_type": _joined(dataset.get("ImageType", "")),
        "modality": str(dataset.get("Modality", "")),
        "description": str(dataset.get("SeriesDescription", "")),
        "number": str(dataset.get("SeriesNumber", "")),
        "study": str(dataset.get("StudyInstanceUID", "")),
        "position": _joined(_group(dataset, number, "PlanePositionSequence").ImagePositionPatient),
        "orientation": _joined(_group(dataset, number, "PlaneOrientationSequence").ImageOrientationPatient),
        "frame_of_reference": str(dataset.get("FrameOfReferenceUID", "")),
        "photometric": str(dataset.get("PhotometricInterpretation", "")),
        "frames": "1",
        "rows": str(dataset.Rows),
        "columns": str(dataset.Columns),
        "spacing": _joined(measures.PixelSpacing),
        "thickness": str(measures.get("SliceThickness", "")),
        "imager_spacing": "",
        "scanned_spacing": "",
        "slope": str(scaling.get("RescaleSlope", "")),
        "intercept": str(scaling.get("RescaleIntercept", "")),
        "rescale_type": str(scaling.get("RescaleType", "")),
    }
    return SliceHeader(file / f"frame {number + 1}", tags)


def _scaling(dataset: Any, number: int) -> Any:
    """The functional group with a frame's slope and intercept; None where it has none."""
    try:
        return _group(dataset, number, "PixelValueTransformationSequence")
    except (AttributeError, IndexError):
        return None


def _rescaled(stored_yx: npt.NDArray[Any], dataset: Any, number: int) -> npt.NDArray[Any]:
    """The values of a frame after its slope and intercept; whole numbers stay whole."""
    transformation = _scaling(dataset, number)
    if transformation is None:
        return stored_yx
    slope, intercept = float(transformation.RescaleSlope), float(transformation.RescaleIntercept)
    if slope.is_integer() and intercept.is_integer():
        return stored_yx.astype(np.int32) * int(slope) + int(intercept)
    return (stored_yx * slope + intercept).astype(np.float32)


def _joined(values: Any) -> str:
    return values if isinstance(values, str) else "\\".join(map(str, values))


def _wrong(file: Path, found: str, expected: str) -> ImageError:
    return ImageError(
        file,
        found=found,
        expected=expected,
        fix="convert it to NIfTI with dcm2niix, or export it as classic DICOM, one slice per file",
    )
