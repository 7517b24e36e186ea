"""What each file of a DICOM series says of itself, and whether the files belong together.

No file decides for the others: whatever may differ from slice to slice is read from every one of them.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import simpleitk_io
from balrsam_pipeline.imageio.formats import require_utf8
from balrsam_pipeline.printable import listed

LOG = logging.getLogger(__name__)
UNEVEN = 0.1  # of a step: further off, a slice distance and a place mean a missing slice
UPRIGHT = 1e-3  # of direction cosines and their products
ROUNDING = 1e-3  # by which direction cosines and pixel spacings (mm) of slices may differ
LOCALIZER = "LOCALIZER"  # a value of ImageType: scouts, topograms
SHOWN = 4
Value = str | tuple[str | float, ...]  # of what files of a volume have in common
FIX_ODD = "move the files that do not belong to the volume into a folder of their own"

_TAGS = {
    "image_type": "0008|0008",
    "modality": "0008|0060",
    "description": "0008|103e",
    "number": "0020|0011",
    "study": "0020|000d",
    "series": "0020|000e",
    "position": "0020|0032",
    "orientation": "0020|0037",
    "frame_of_reference": "0020|0052",
    "photometric": "0028|0004",
    "frames": "0028|0008",
    "rows": "0028|0010",
    "columns": "0028|0011",
    "spacing": "0028|0030",
    "thickness": "0018|0050",
    "imager_spacing": "0018|1164",
    "scanned_spacing": "0018|2010",
    "slope": "0028|1053",
    "intercept": "0028|1052",
    "rescale_type": "0028|1054",
}
REMEMBERED = 20_000  # headers, of 3 KB each: a file's is asked for several times
# name -> the attribute, and the value that changes nothing
_SCALING = {"slope": ("RescaleSlope", 1.0), "intercept": ("RescaleIntercept", 0.0)}


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """The tags of one file that matter here, as text by the names above; "" for those that it lacks."""

    file: Path
    tags: dict[str, str]

    def numbers(self, name: str, count: int) -> tuple[float, ...] | None:
        """A tag of `count` finite numbers; None where it is missing or something else."""
        try:
            values = tuple(float(part) for part in self.tags[name].split("\\"))
        except ValueError:
            return None
        return values if len(values) == count and all(map(math.isfinite, values)) else None

    @property
    def is_localizer(self) -> bool:
        """Whether it is a scout, by ImageType."""
        return LOCALIZER in self.tags["image_type"].upper().split("\\")


def read_header(file: Path) -> SliceHeader:
    """Read the header of one DICOM file.

    Raises:
        ImageError: GDCM cannot read it, or its name is not UTF-8.
    """
    require_utf8(file)
    there = file.stat() if file.is_file() else None  # of a link to nowhere GDCM says so
    return _read(file, (there.st_size, there.st_mtime_ns) if there else None)


@lru_cache(maxsize=REMEMBERED)
def _read(file: Path, state: tuple[int, int] | None) -> SliceHeader:
    """The header of a file that is of this size and age; whoever asks again gets what was read."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    try:
        reader.ReadImageInformation()
    except RuntimeError as problem:
        raise simpleitk_io.unreadable(file, problem) from None
    tags = {
        name: reader.GetMetaData(tag).strip(" \0") if reader.HasMetaDataKey(tag) else ""
        for name, tag in _TAGS.items()
    }
    return SliceHeader(file, tags)


def volume_headers(headers: Sequence[SliceHeader]) -> tuple[SliceHeader, ...]:
    """The headers of the volume in a series, in the order of their positions; scouts are left out.

    Raises:
        ImageError: a file is not of the same kind as the others (it is named), holds several frames, lacks
            its position, orientation, pixel spacing or the scaling that the others have, or slices are
            missing or there twice.
    """
    scouts = [header for header in headers if header.is_localizer]
    volume = [header for header in headers if not header.is_localizer] or list(headers)
    if scouts and len(volume) < len(headers):
        LOG.warning(
            "%s: left out as scouts (localizers): %s",
            scouts[0].file.parent,
            names_of([s.file for s in scouts]),
        )
    for header in volume:
        _require_one_frame(header)
    _require_alike(volume)
    _require_scaling(volume)
    _require_spacing(volume)
    if len(volume) == 1:
        return tuple(volume)
    return _by_position(volume)


def _require_one_frame(header: SliceHeader) -> None:
    if (header.numbers("frames", 1) or (1.0,))[0] > 1:
        raise ImageError(
            header.file,
            found=f"a multi-frame (enhanced) DICOM file of {header.tags['frames']} frames",
            expected="one slice per file",
            fix="convert it to NIfTI with dcm2niix, or export it as classic DICOM, one slice per file",
        )


def _require_alike(headers: Sequence[SliceHeader]) -> None:
    """Refuse files that differ from most in what a volume has in common."""
    kinds = [dict(_kind(header)) for header in headers]
    for name in kinds[0]:
        _refuse_odd(name, [kind[name] for kind in kinds], headers)


def _refuse_odd(name: str, values: Sequence[Value], headers: Sequence[SliceHeader]) -> None:
    """Refuse the files whose value differs from that of most."""
    usual_rounded = Counter(map(_rounded, values)).most_common(1)[0][0]
    usual = next(value for value in values if _rounded(value) == usual_rounded)
    odd = [index for index, value in enumerate(values) if not _alike(value, usual)]
    if not odd:
        return
    files = [headers[index].file for index in odd]
    raise ImageError(
        place_of(files),
        found=f"{name} {_shown(values[odd[0]])} in {names_of(files)}",
        expected=f"{name} {_shown(usual)}, as in {len(values) - len(odd)} of {len(headers)} files of the "
        "series",
        fix=f"{FIX_ODD} (a scout, another echo or reconstruction?)",
    )


def _require_scaling(headers: Sequence[SliceHeader]) -> None:
    """Refuse slices without the slope or intercept that others have, unless those change nothing, a slope
    that is 0 or no number (GDCM takes 1), and several units. No unit is no other unit."""
    for name, (attribute, neutral) in _SCALING.items():
        wrong = [one for one in headers if one.tags[name] and not _is_scaling(name, one)]
        if wrong:
            raise ImageError(
                place_of([one.file for one in wrong]),
                found=f"{attribute} {wrong[0].tags[name]} in {names_of([one.file for one in wrong])}",
                expected="a number" + (" other than 0" if name == "slope" else ""),
                fix="export the series again",
            )
        without = [one.file for one in headers if not one.tags[name]]
        scaled = [one for one in headers if one.tags[name] and one.numbers(name, 1) != (neutral,)]
        if without and scaled:
            raise ImageError(
                place_of(without),
                found=f"no {attribute} in {names_of(without)}",
                expected=f"one in every slice, as in {len(headers) - len(without)} of {len(headers)} of the "
                "series",
                fix=f"export the series again, or {FIX_ODD}",
            )
    typed = [one for one in headers if one.tags["rescale_type"]]
    if typed:
        _refuse_odd("RescaleType", [one.tags["rescale_type"] for one in typed], typed)


def _is_scaling(name: str, header: SliceHeader) -> bool:
    value = header.numbers(name, 1)
    return value is not None and (name != "slope" or value[0] != 0)


def _kind(header: SliceHeader) -> Iterator[tuple[str, Value]]:
    yield "a size of rows × columns of", (header.tags["rows"], header.tags["columns"])
    yield "orientation", header.numbers("orientation", 6) or header.tags["orientation"]
    yield "pixel spacing", header.numbers("spacing", 2) or header.tags["spacing"]
    yield "photometric interpretation", header.tags["photometric"]
    yield "modality", header.tags["modality"]
    yield "frame of reference", header.tags["frame_of_reference"]
    yield "series description", header.tags["description"]


def _rounded(value: Value) -> Value:
    if isinstance(value, str):
        return value
    return tuple(round(part, 3) + 0.0 if isinstance(part, float) else part for part in value)


def _alike(value: Value, usual: Value) -> bool:
    """Whether texts are the same, and numbers within what scanners round them to."""
    if value == usual or isinstance(value, str) or isinstance(usual, str):
        return value == usual
    return all(
        abs(one - other) <= ROUNDING if isinstance(one, float) and isinstance(other, float) else one == other
        for one, other in zip(value, usual, strict=True)
    )


def pixel_spacing(header: SliceHeader) -> tuple[float, float] | None:
    """Distances (mm) between rows and between columns; in projections that of the detector. None where none
    is given."""
    for name in ("spacing", "imager_spacing", "scanned_spacing"):
        values = header.numbers(name, 2)
        if values and min(values) > 0:
            return values[0], values[1]
    return None


def _require_spacing(headers: Sequence[SliceHeader]) -> None:
    without = [header.file for header in headers if pixel_spacing(header) is None]
    if without and len(headers) > 1:
        raise ImageError(
            without[0].parent,
            found=f"no PixelSpacing in {names_of(without)}",
            expected="the distance of pixels in mm in every slice",
            fix="export the series again with its geometry, or make a dataset of pictures, which have none",
        )
    if without:
        LOG.warning("%s: no PixelSpacing; 1 mm is assumed", without[0])
    elif headers[0].numbers("spacing", 2) is None:
        LOG.warning("%s: no PixelSpacing; that of the detector is taken", headers[0].file)


def _by_position(headers: Sequence[SliceHeader]) -> tuple[SliceHeader, ...]:
    without = [
        header.file
        for header in headers
        if header.numbers("position", 3) is None or header.numbers("orientation", 6) is None
    ]
    if without:
        raise ImageError(
            without[0].parent,
            found=f"no ImagePositionPatient or ImageOrientationPatient in {names_of(without)}",
            expected="the place of every slice",
            fix=FIX_ODD,
        )
    normal = directions(headers[0])[:, 2]
    places = {header.file: float(np.dot(normal, header.numbers("position", 3) or ())) for header in headers}
    ordered = sorted(headers, key=lambda header: places[header.file])
    distances = np.diff([places[header.file] for header in ordered])
    twice = [
        (one.file, other.file)
        for one, other, distance in zip(ordered, ordered[1:], distances, strict=False)
        if distance < 1e-3
    ]
    if twice:
        raise ImageError(
            twice[0][0].parent,
            found=f"{len(twice)} place(s) with two slices, such as {twice[0][0].name} and {twice[0][1].name}",
            expected="one slice a place",
            fix="several volumes (phases, echoes) lie in one series: give each a folder of its own",
        )
    usual = float(np.median(distances))
    if np.any(np.abs(distances - usual) > UNEVEN * usual) and not _evenly(
        [places[one.file] for one in ordered]
    ):
        gap = int(np.argmax(np.abs(distances - usual)))
        raise ImageError(
            headers[0].file.parent,
            found=f"slices {distances.min():.3g} to {distances.max():.3g} mm apart, such as "
            f"{ordered[gap].file.name} and {ordered[gap + 1].file.name}",
            expected=f"evenly spaced slices, {usual:.3g} mm apart",
            fix="look for missing files, or for several volumes (phases, echoes) in one series: give each a "
            "folder of its own",
        )
    _require_one_line(ordered)
    return tuple(ordered)


def _evenly(places: Sequence[float]) -> bool:
    """Whether places lie on an even line: two that are rounded towards or away from each other do, though
    their distance is off by twice as much; a missing slice leaves one at least half a step off."""
    line = np.linspace(places[0], places[-1], len(places))
    step = (places[-1] - places[0]) / (len(places) - 1)
    return bool(np.abs(np.array(places) - line).max() <= UNEVEN * step)


def _require_one_line(ordered: Sequence[SliceHeader]) -> None:
    """Refuse slices that are shifted sideways against each other otherwise than by a steady tilt."""
    positions = np.array([header.numbers("position", 3) for header in ordered], dtype=np.float64)
    line = np.linspace(positions[0], positions[-1], len(positions))
    off = np.linalg.norm(positions - line, axis=1)
    step = float(np.linalg.norm(positions[-1] - positions[0])) / (len(positions) - 1)
    if off.max() > UNEVEN * step + min(pixel_spacing(ordered[0]) or (1.0, 1.0)):
        raise ImageError(
            ordered[int(off.argmax())].file,
            found=f"a slice {off.max():.3g} mm off the line of the others",
            expected="slices one behind the other",
            fix=FIX_ODD,
        )


def directions(header: SliceHeader) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The directions (3, 3) of x, y and the slice normal, as columns.

    Raises:
        ImageError: rows and columns are not perpendicular, or not of length 1.
    """
    cosines = header.numbers("orientation", 6) or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    row, column = np.array(cosines).reshape(2, 3)
    if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=UPRIGHT):
        raise ImageError(
            header.file,
            found=f"ImageOrientationPatient {header.tags['orientation']}",
            expected="two perpendicular directions of length 1",
            fix="export the series again",
        )
    return np.column_stack([row, column, np.cross(row, column)])


def _shown(value: object) -> str:
    return " × ".join(map(str, value)) if isinstance(value, tuple) else str(value) or "(none)"


def place_of(files: Sequence[Path]) -> Path:
    """What an error about some of a series' files is about: the file, or the folder of several."""
    return files[0] if len(files) == 1 else files[0].parent


def names_of(files: Sequence[Path]) -> str:
    """Names of files for a message; of many the first, and how many more there are."""
    return listed([file.name for file in files], SHOWN)
