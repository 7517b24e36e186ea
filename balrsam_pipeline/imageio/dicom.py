"""DICOM series through SimpleITK's GDCM: found by folder, each slice read with its own rescale slope, the
tilt of a gantry kept."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.dicom_files import begins_as_dicom, damaged_slices, folders_of
from balrsam_pipeline.imageio.dicom_frames import read_frames
from balrsam_pipeline.imageio.dicom_headers import (
    SHOWN,
    SliceHeader,
    directions,
    names_of,
    pixel_spacing,
    place_of,
    read_header,
    volume_headers,
)
from balrsam_pipeline.imageio.formats import require_utf8
from balrsam_pipeline.imageio.geometry import Geometry, Image
from balrsam_pipeline.imageio.itk_messages import itk_messages_of
from balrsam_pipeline.printable import is_utf8
from balrsam_pipeline.whole_numbers import whole_number

LOG = logging.getLogger(__name__)
LEAST_TILT_DEG = 0.1
SEGMENTATION = "SEG"
# modalities of what was made of images
NO_IMAGE = (SEGMENTATION, "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO")


@dataclass(frozen=True, slots=True)
class Series:
    """The files of one DICOM series, its modality ("CT", "SEG" …), number and description, whether it is a
    scout, the UIDs of its study and of itself, and files that seem to be damaged slices of it."""

    files: tuple[Path, ...]
    modality: str
    number: int
    description: str = ""
    is_localizer: bool = False
    study: str = ""
    uid: str = ""
    damaged: tuple[Path, ...] = ()

    @property
    def is_image(self) -> bool:
        """Whether it can be a channel: neither a scout nor what was made of images."""
        return self.modality not in NO_IMAGE and not self.is_localizer


def find_series(folder: Path, *, tell: bool = True) -> tuple[Series, ...]:
    """All series in a folder and its sub-folders, also behind links, in the order of their numbers; files
    that are not DICOM are passed over. A series may be spread over several sub-folders.

    Args:
        tell: warn of files that seem to be damaged slices, of which it is open which series they are of, and
            of folders that may not be read.
    """
    parts: dict[str, list[tuple[Path, ...]]] = {}  # UID -> its files in each folder
    others: list[Path] = []
    with itk_messages_of(folder):
        for place in folders_of(folder, tell=tell):
            there = {path for path in place.iterdir() if not path.is_dir()}
            if any(path.is_file() for path in there):  # ITK warns of folders that hold none
                for files in _files_of_series(place, there):
                    uid = read_header(files[0]).tags["series"]
                    parts.setdefault(uid or str(files[0]), []).append(files)
                    there -= set(files)
            others += sorted(there)
        found = [_series(files) for spread in parts.values() for files in _merged(spread)]
    found = _with_damaged(found, others, folder if tell else None)
    return tuple(sorted(found, key=lambda series: (series.number, series.files[0])))


def _with_damaged(found: list[Series], others: list[Path], told_of: Path | None) -> list[Series]:
    """The series with the damaged slices that name them or, where these name none, that lie beside them."""
    images = [series for series in found if series.modality != SEGMENTATION]
    damaged: dict[Series, list[Path]] = {series: [] for series in found}
    in_folder: dict[Path, list[Series]] = {}
    of_uid: dict[str, list[Series]] = {}
    for series in images:
        for folder in {file.parent for file in series.files}:
            in_folder.setdefault(folder, []).append(series)
        of_uid.setdefault(series.uid, []).append(series)
    stray: list[Path] = []
    for file, numbers in damaged_slices(others, [series.files for series in images]).items():
        beside = in_folder.get(file.parent, [])
        named = [series for number in numbers for series in of_uid.get(number, [])]
        owners = [series for series in named if series in beside] or named or beside
        for series in owners:
            damaged[series].append(file)
        stray += [] if owners else [file]
    if stray and told_of is not None:
        LOG.warning(
            "%s: %d file(s) that cannot be read, without a series beside them, are passed over, such as %s",
            told_of,
            len(stray),
            ", ".join(str(file.relative_to(told_of)) for file in stray[:SHOWN])
            + (" …" if stray[SHOWN:] else ""),
        )
    return [replace(series, damaged=tuple(files)) for series, files in damaged.items()]


def _series(files: tuple[Path, ...]) -> Series:
    first = read_header(files[0])
    return Series(
        files=files,
        modality=first.tags["modality"],
        number=whole_number(first.tags["number"]) or 0,
        description=first.tags["description"],
        is_localizer=first.is_localizer and all(read_header(file).is_localizer for file in files[1:]),
        study=first.tags["study"],
        uid=first.tags["series"],
    )


def _merged(parts: list[tuple[Path, ...]]) -> list[tuple[Path, ...]]:
    """The parts of a series in several folders as one, unless two of their slices lie in one place: those are
    copies, or phases that somebody sorted into folders."""
    if len(parts) == 1:
        return parts
    together = tuple(file for files in parts for file in files)
    headers = [header for header in map(read_header, together) if not header.is_localizer]
    places = [header.numbers("position", 3) for header in headers]
    if None in places or len(set(places)) < len(places):
        return parts
    return [together]


def _files_of_series(folder: Path, files: Collection[Path]) -> list[tuple[Path, ...]]:
    """The files of each series in a folder, sorted: those that GDCM reads as images, by the series that each
    names. GDCM itself, asked for the files of one series, reads all of the folder, and forgets some.

    Args:
        files: all that lie in it.

    Raises:
        ImageError: the name of the folder, or of a DICOM file in it, is not UTF-8.
    """
    require_utf8(folder)
    groups: dict[str, list[Path]] = {}
    for file in sorted(files):
        if not file.is_file():
            continue
        try:
            groups.setdefault(read_header(file).tags["series"], []).append(file)
        except ImageError:
            if not is_utf8(file) and begins_as_dicom(file):
                raise  # else it is damaged, or holds no image
    return [tuple(group) for group in groups.values()]


def read_series(series: Series) -> Image:
    """Read a series as one channel (1, z, y, x); each slice's own rescale slope and intercept are applied (CT
    is in Hounsfield units).

    A multi-frame (enhanced) file is read frame by frame. Where the gantry was tilted, slices stay where they
    were acquired: the header is sheared.

    Raises:
        ImageError: a file is damaged or does not belong to the volume, slices are missing, or the series
            holds several volumes or colours.
    """
    where = series.files[0].parent
    if series.damaged:
        raise ImageError(
            place_of(series.damaged),
            found=f"{len(series.damaged)} file(s) that cannot be read: {names_of(series.damaged)}",
            expected=f"whole files, as the {len(series.files)} of series {series.number} beside them",
            fix="copy or export them again; move what is no slice of the series out of its folder",
        )
    if is_multi_frame(series):
        frames = read_frames(series.files[0])
        shape = (frames.values_zyx.shape[1], frames.values_zyx.shape[2])
        return Image(frames.values_zyx[None], _geometry(frames.headers, shape))
    with itk_messages_of(where):
        headers = volume_headers([read_header(file) for file in series.files])
        slices_yx = [_read_slice(header.file) for header in headers]
    geometry = _geometry(headers, slices_yx[0].shape)
    if headers[0].tags["photometric"] == "MONOCHROME1":
        LOG.warning("%s: MONOCHROME1: large values are dark; they are kept as stored", where)
    return Image(np.stack(slices_yx)[None], geometry)


def is_multi_frame(series: Series) -> bool:
    """Whether the series is one file of several frames."""
    if len(series.files) > 1:
        return False
    return (read_header(series.files[0]).numbers("frames", 1) or (1.0,))[0] > 1


def ordered_files(series: Series) -> tuple[Path, ...]:
    """The files of a series of one slice per file, in the order of the slices of `read_series`."""
    return tuple(header.file for header in volume_headers([read_header(file) for file in series.files]))


def _read_slice(file: Path) -> npt.NDArray[Any]:
    """The rescaled values (y, x) of one file."""
    try:
        image = sitk.ReadImage(str(file), imageIO="GDCMImageIO")
    except RuntimeError as problem:
        raise simpleitk_io.unreadable(file, problem) from None
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        raise ImageError(
            file,
            found="a series in colour",
            expected="grey values",
            fix="convert the pictures as pairs of PNG files",
        )
    return np.asarray(array.reshape(array.shape[-2:]))


def _geometry(headers: Sequence[SliceHeader], shape_yx: tuple[int, ...]) -> Geometry:
    """The grid of slices in the order of their positions; the third axis goes from slice to slice, wherever
    that is."""
    first = headers[0]
    matrix = directions(first)
    rows_mm, columns_mm = pixel_spacing(first) or (1.0, 1.0)
    origin = np.array(first.numbers("position", 3) or (0.0, 0.0, 0.0))
    thickness = max(0.0, (first.numbers("thickness", 1) or (0.0,))[0]) or 1.0
    if len(headers) > 1:
        last = np.array(headers[-1].numbers("position", 3) or ())
        step = (last - origin) / (len(headers) - 1)
        thickness = float(np.linalg.norm(step))
        tilt = np.degrees(np.arccos(np.clip(step @ matrix[:, 2] / thickness, -1, 1)))
        if tilt > LEAST_TILT_DEG:
            LOG.warning(
                "%s: gantry tilt of %.1f degrees: slices stay where they were acquired, in a sheared header",
                first.file.parent,
                tilt,
            )
            matrix[:, 2] = step / thickness
    return Geometry(
        dimension=3,
        shape_zyx=(len(headers), shape_yx[0], shape_yx[1]),
        spacing_mm=(thickness, rows_mm, columns_mm),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(value) for value in matrix.ravel()),
    )
