"""DICOM-SEG on the grid of its series; needs pydicom (the optional extra `dicom`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import ImageError, UsageError, installing
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.imageio.dicom_frames import damage_told, in_memory

OFF_GRID_VOXELS = 0.1  # a frame further from a slice than this belongs to another grid
ALIGNED = 1e-3


def segment_names(path: Path) -> tuple[str, ...]:
    """The names of the segments, in the order of their numbers.

    Raises:
        ImageError: the file is no DICOM-SEG.
        UsageError: pydicom is not installed.
    """
    with damage_told(path, "a DICOM-SEG"):
        dataset = _read(path, voxels=False)
        return tuple(
            str(segment.SegmentLabel)
            for segment in sorted(dataset.SegmentSequence, key=lambda segment: int(segment.SegmentNumber))
        )


def read_segmentation(path: Path, geometry: Geometry, values: Mapping[str, int]) -> npt.NDArray[np.uint16]:
    """Read a DICOM-SEG as a label map (z, y, x) on the grid of the series that it was drawn on.

    Where segments overlap, the one of the higher number wins. Slices that no frame covers are background.

    Args:
        geometry: of the series.
        values: segment name -> label value.

    Raises:
        ImageError: the file is no DICOM-SEG, or its frames do not lie on that grid.
        UsageError: pydicom is not installed.
    """
    with damage_told(path, "a DICOM-SEG whose frames are those of its segments"):
        return _placed(path, geometry, values)


def _placed(path: Path, geometry: Geometry, values: Mapping[str, int]) -> npt.NDArray[np.uint16]:
    dataset = _read(path, voxels=True)
    names = {int(segment.SegmentNumber): str(segment.SegmentLabel) for segment in dataset.SegmentSequence}
    frames = np.asarray(dataset.pixel_array).reshape(-1, int(dataset.Rows), int(dataset.Columns)) > 0
    _require_same_plane(path, dataset, geometry)
    label = np.zeros(geometry.shape_zyx, dtype=np.uint16)
    placed = sorted(
        (
            int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber),
            _slice_of(path, group, geometry),
            index,
        )
        for index, group in enumerate(dataset.PerFrameFunctionalGroupsSequence)
    )
    for segment, z, index in placed:
        label[z][frames[index]] = values[names[segment]]
    return label


def _read(path: Path, voxels: bool) -> Any:
    pydicom = _pydicom()
    dataset = pydicom.dcmread(in_memory(path), stop_before_pixels=not voxels)
    if dataset.get("Modality") != "SEG" or "SegmentSequence" not in dataset:
        raise _wrong(path, f"modality {dataset.get('Modality', 'unknown')}", "a DICOM-SEG")
    return dataset


def _pydicom() -> ModuleType:
    try:
        import pydicom
    except ImportError:
        raise UsageError(
            "DICOM-SEG labels",
            found="no pydicom",
            expected="pydicom to read them",
            fix=f"{installing('dicom')}; or save the labels as NIfTI",
        ) from None
    return pydicom  # type: ignore[no-any-return]


def _require_same_plane(path: Path, dataset: Any, geometry: Geometry) -> None:
    direction = np.array(geometry.direction).reshape(3, 3)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    groups = shared if "PlaneOrientationSequence" in shared else dataset.PerFrameFunctionalGroupsSequence[0]
    cosines = np.array(groups.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=np.float64)
    same_plane = np.allclose(cosines, np.concatenate([direction[:, 0], direction[:, 1]]), atol=ALIGNED)
    if not same_plane or (int(dataset.Rows), int(dataset.Columns)) != geometry.shape_zyx[1:]:
        raise _wrong(
            path,
            f"frames of {dataset.Rows} × {dataset.Columns} pixels in another plane or size",
            "the planes of the image series",
        )


def _slice_of(path: Path, group: Any, geometry: Geometry) -> int:
    """The slice of the series that a frame lies on."""
    position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=np.float64)
    direction = np.array(geometry.direction).reshape(3, 3)
    index_xyz = (np.linalg.inv(direction) @ (position - np.array(geometry.origin_mm))) / np.array(
        geometry.spacing_mm[::-1]
    )
    z = round(float(index_xyz[2]))
    if np.abs(index_xyz - (0, 0, z)).max() > OFF_GRID_VOXELS or not 0 <= z < geometry.shape_zyx[0]:
        raise _wrong(
            path,
            f"a frame at voxel {', '.join(f'{value:.2f}' for value in index_xyz)} (x, y, z)",
            "frames on slices of the series",
        )
    return z


def _wrong(path: Path, found: str, expected: str) -> ImageError:
    return ImageError(
        path,
        found=found,
        expected=expected,
        fix="resample the segmentation to its series with the tool that made it, or save it as NIfTI",
    )
