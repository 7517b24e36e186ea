"""DICOM series through SimpleITK's GDCM: found by folder, read with rescaled values, missing slices
noticed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.geometry import Image
from balrsam_pipeline.imageio.itk_messages import itk_messages_of

MODALITY, SERIES_NUMBER, POSITION, ORIENTATION = "0008|0060", "0020|0011", "0020|0032", "0020|0037"
UNEVEN = 0.1  # deviation of a slice distance from the median, relative, that means a missing slice


@dataclass(frozen=True, slots=True)
class Series:
    """The files of one DICOM series in the order of their positions, its modality ("CT", "SEG" …) and its
    number."""

    files: tuple[Path, ...]
    modality: str
    number: int


def find_series(folder: Path) -> tuple[Series, ...]:
    """All series in a folder and its sub-folders, in the order of their numbers; files that are not DICOM are
    passed over."""
    found = []
    with itk_messages_of(folder):
        for place in (folder, *sorted(path for path in folder.rglob("*") if path.is_dir())):
            for identifier in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(place)):
                files = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(place), identifier)
                tags = _tags(files[0], (MODALITY, SERIES_NUMBER))
                number = int(tags[1]) if tags[1].isdigit() else 0
                found.append(Series(tuple(Path(file) for file in files), tags[0], number))
    return tuple(sorted(found, key=lambda series: (series.number, series.files[0])))


def read_series(series: Series) -> Image:
    """Read a series as one channel (1, z, y, x); rescale slope and intercept are applied (CT is in Hounsfield
    units).

    Raises:
        ImageError: a file is damaged, slices are missing, or the series holds several volumes.
    """
    where = series.files[0].parent
    _require_even_slices(series)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in series.files])
    with itk_messages_of(where):
        try:
            image = reader.Execute()
        except RuntimeError as problem:
            raise simpleitk_io.unreadable(where, problem) from None
    geometry = simpleitk_io.geometry_of(where, image)
    array = sitk.GetArrayFromImage(image)
    if array.shape != geometry.shape_zyx:
        raise ImageError(
            where,
            found="a series in colour",
            expected="grey values",
            fix="convert the pictures as pairs of PNG files",
        )
    return Image(array[None], geometry)


def _require_even_slices(series: Series) -> None:
    where, tags = series.files[0].parent, []
    with itk_messages_of(where):
        for file in series.files:
            tags.append(_tags(str(file), (POSITION, ORIENTATION)))
    if len(series.files) < 3 or not all(position and orientation for position, orientation in tags):
        return
    positions = np.array([[float(value) for value in position.split("\\")] for position, _ in tags])
    row, column = np.array([float(value) for value in tags[0][1].split("\\")]).reshape(2, 3)
    distances = np.diff(positions @ np.cross(row, column))
    usual = float(np.median(np.abs(distances)))
    if np.any(np.abs(np.abs(distances) - usual) > UNEVEN * max(usual, 1e-3)):
        raise ImageError(
            where,
            found=f"slices {np.abs(distances).min():.3g} to {np.abs(distances).max():.3g} mm apart",
            expected=f"evenly spaced slices, {usual:.3g} mm apart",
            fix="look for missing files, or for several volumes (phases, echoes) in one series: give each a "
            "folder of its own",
        )


def _tags(file: str, names: tuple[str, ...]) -> tuple[str, ...]:
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as problem:
        raise simpleitk_io.unreadable(Path(file), problem) from None
    return tuple(reader.GetMetaData(name).strip() if reader.HasMetaDataKey(name) else "" for name in names)
