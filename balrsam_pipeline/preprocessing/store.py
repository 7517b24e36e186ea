"""Preprocessed cases on disk: blosc2 arrays in which one slice is one small read, and one JSON file per case.

`CASE.b2nd` float32 (channel, z, y, x); `CASE_label.b2nd` int16 (z, y, x); `CASE_foreground.b2nd` int32 (n, 3)
voxels of every label in turn; `CASE.json` the properties, written last: a case without it is not there.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.files import atomic_path, read_json, write_json
from balrsam_pipeline.layout import StoredFiles
from balrsam_pipeline.plan import Configuration
from balrsam_pipeline.preprocessing.case import CaseProperties, PreprocessedCase
from balrsam_pipeline.preprocessing.conservation import LabelVoxels
from balrsam_pipeline.preprocessing.locations import annotated_locations, class_locations
from balrsam_pipeline.serialise import from_json, to_json

BLOCK_BYTES = 2**20
CHUNK_VOXELS = 2**22  # a chunk is what one write compresses; slices are read block by block
# block side where slices are cut along all axes: a slice along any axis then decompresses 32 of its own size
CUBE = 32
_WHOLE_VOXELS = 2**17  # volumes this small are one block, 0.5 MiB: decompressing it takes less than 0.1 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCase:
    """The content of CASE.json.

    Attributes:
        recipe_sha256: of everything the stored arrays depend on; another value means that the case must be
            redone.
        foreground: label or region name -> [start, stop) of its rows in CASE_foreground.b2nd.
        stored_bytes: size of every array file, to notice truncated ones.
        annotated: [start, stop) of the rows of voxels that somebody annotated; None where nothing is ignored.
        label_voxels: label value -> its voxels before and after preprocessing.
        stored_crc32: checksum of every array file, to notice damaged ones; older versions wrote none.
    """

    properties: CaseProperties
    recipe_sha256: str
    foreground: dict[str, tuple[int, int]]
    stored_bytes: dict[str, int]
    annotated: tuple[int, int] | None = None
    label_voxels: dict[str, LabelVoxels] = field(default_factory=dict)
    stored_crc32: dict[str, int] = field(default_factory=dict)


def store_folder(preprocessed_dataset: Path, configuration: Configuration) -> Path:
    """The folder that a configuration's cases lie in; `2d` and `2.5d` share one where they preprocess alike,
    that is where slices keep their resolution, and so do `triplanar` and `3d`."""
    if configuration.antialias:
        return preprocessed_dataset / configuration.name
    return preprocessed_dataset / ("2d" if configuration.slicing_axes == (0,) else "triplanar")


def write_case(
    folder: Path,
    case: str,
    preprocessed: PreprocessedCase,
    labels: LabelScheme,
    recipe_sha256: str = "",
    all_axes: bool = False,
) -> None:
    """Write one case, each file atomically; a reader sees the case only when it is whole. What a power cut
    damages is made again.

    Args:
        all_axes: lay the arrays out for slices along all three axes instead of the first alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = StoredFiles(folder, case)
    files.facts.unlink(missing_ok=True)
    arrays: dict[Path, npt.NDArray[Any]] = {files.image: preprocessed.image_czyx}
    ranges: dict[str, tuple[int, int]] = {}
    annotated: tuple[int, int] | None = None
    if preprocessed.label_zyx is not None:
        arrays[files.label] = preprocessed.label_zyx
        locations = class_locations(preprocessed.label_zyx, labels)
        ends = np.cumsum([len(rows) for rows in locations.values()], dtype=int)
        ranges = {
            name: (int(end) - len(rows), int(end))
            for (name, rows), end in zip(locations.items(), ends, strict=True)
        }
        rows = list(locations.values())
        drawn = annotated_locations(preprocessed.label_zyx, labels)
        if drawn is not None:
            rows.append(drawn)
            annotated = (int(ends[-1]), int(ends[-1]) + len(drawn))
        if sum(map(len, rows)):
            arrays[files.foreground] = np.concatenate(rows)
    for path, array in arrays.items():
        _write_array(path, array, all_axes)
    sizes = {path.name: path.stat().st_size for path in arrays}
    stored = StoredCase(
        properties=preprocessed.properties,
        recipe_sha256=recipe_sha256,
        foreground=ranges,
        stored_bytes=sizes,
        annotated=annotated,
        label_voxels={str(value): voxels for value, voxels in preprocessed.label_voxels.items()},
        stored_crc32={path.name: _crc32(path) for path in arrays},
    )
    write_json(files.facts, to_json(stored), durable=False)


def read_stored(folder: Path, case: str) -> StoredCase:
    """Read CASE.json and check that its arrays are there in full length.

    Raises:
        PreprocessingError: a file of the case is missing, damaged or truncated.
    """
    path = StoredFiles(folder, case).facts
    stored = from_json(StoredCase, read_json(path, PreprocessingError), path, PreprocessingError)
    for name, size in stored.stored_bytes.items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            raise _damaged(
                folder / name, "no such file" if found is None else f"{found} bytes", f"{size} bytes"
            )
    return stored


class CaseStore:
    """The preprocessed cases of one folder, read slice by slice; safe to hand to worker processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stored: dict[str, StoredCase] = {}
        self._sound: set[str] = set()  # array files whose checksum was compared

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the cases that are there in full, sorted."""
        return tuple(
            sorted(path.stem for path in self.folder.glob("*.json") if not path.name.startswith("."))
        )

    def properties(self, case: str) -> CaseProperties:
        """Geometry, crop box and shapes of a case."""
        return self._case(case).properties

    def shape(self, case: str) -> tuple[int, int, int]:
        """(z, y, x) voxels of the preprocessed case."""
        return self._case(case).properties.shape

    def content(self, case: str) -> str:
        """What tells the image of a case from others and from itself preprocessed otherwise."""
        stored = self._case(case)
        checksum = stored.stored_crc32.get(StoredFiles(self.folder, case).image.name)
        return f"{stored.recipe_sha256} {checksum}"

    def read_slice(self, case: str, index: int, context: int = 0, axis: int = 0) -> npt.NDArray[np.float32]:
        """One slice and `context` neighbours on each side, float32 (channels * (2 * context + 1), h, w).

        Channels are slice-major: all channels of slice -context first. Beyond the volume its edge slice is
        repeated.

        Args:
            axis: the transposed axis that the slice is cut across; the other two stay in order.
        """
        size = self.shape(case)[axis]
        wanted = np.clip(np.arange(index - context, index + context + 1), 0, size - 1)
        first = int(wanted[0])
        block = self._read(
            case,
            StoredFiles(self.folder, case).image,
            (slice(None), *_across(axis, first, int(wanted[-1]) + 1)),
        )
        slices = np.moveaxis(block, axis + 1, 0)[wanted - first]
        return np.ascontiguousarray(slices.reshape(-1, *slices.shape[2:]))

    def read_label_slice(self, case: str, index: int, axis: int = 0) -> npt.NDArray[np.int16]:
        """The label map of one slice, int16 (h, w)."""
        return np.ascontiguousarray(
            self._read(case, StoredFiles(self.folder, case).label, _across(axis, index, index + 1)).squeeze(
                axis
            )
        )

    def read_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        """A box of a case's image, float32 (channel, z, y, x)."""
        return self._read(case, StoredFiles(self.folder, case).image, (slice(None), *box))

    def read_label_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.int16]:
        """A box of a case's label map, int16 (z, y, x)."""
        return self._read(case, StoredFiles(self.folder, case).label, box)

    def read_image(self, case: str) -> npt.NDArray[np.float32]:
        """The whole case, float32 (channel, z, y, x)."""
        return self._read(case, StoredFiles(self.folder, case).image, ())

    def foreground(self, case: str) -> dict[str, npt.NDArray[np.int32]]:
        """Label or region name -> voxels (n, 3) as z, y, x, at most 10 000 each; those that the case lacks
        have no rows."""
        ranges, rows = self._case(case).foreground, self._rows(case)
        return {label: rows[start:stop] for label, (start, stop) in ranges.items()}

    def annotated(self, case: str) -> npt.NDArray[np.int32] | None:
        """Voxels (n, 3) that somebody annotated, at most 10 000; None where nothing carries the ignore
        label."""
        where = self._case(case).annotated
        return None if where is None else self._rows(case)[where[0] : where[1]]

    def _rows(self, case: str) -> npt.NDArray[np.int32]:
        path = StoredFiles(self.folder, case).foreground
        if path.name not in self._case(case).stored_bytes:
            return np.zeros((0, 3), dtype=np.int32)
        return self._read(case, path, ())

    def _case(self, case: str) -> StoredCase:
        if case not in self._stored:
            self._stored[case] = read_stored(self.folder, case)
        return self._stored[case]

    def _require_sound(self, case: str, path: Path) -> None:
        """Compare a file with its checksum before it is read for the first time.

        A case that fails loses its CASE.json, so that plan_and_preprocess makes it again.

        Raises:
            PreprocessingError: the file was damaged on the disk.
        """
        if path.name in self._sound:
            return
        expected = self._case(case).stored_crc32.get(path.name)
        if expected is not None and path.is_file() and _crc32(path) != expected:
            with suppress(OSError):  # a store that is only read from
                StoredFiles(self.folder, case).facts.unlink(missing_ok=True)
            raise _damaged(path, f"damaged content of case {case} (its checksum does not fit)", "as written")
        self._sound.add(path.name)

    def _read(self, case: str, path: Path, where: tuple[slice, ...]) -> npt.NDArray[Any]:
        import blosc2

        self._require_sound(case, path)
        try:
            array: npt.NDArray[Any] = blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=1))[
                where
            ]
        except Exception as problem:  # blosc2 raises half a dozen kinds for a damaged file
            raise _damaged(path, f"cannot be read: {problem}", "a whole blosc2 array") from None
        return array


def _crc32(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum


def _across(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if dimension == axis else slice(None) for dimension in range(3))


def _write_array(path: Path, array: npt.NDArray[Any], all_axes: bool) -> None:
    import blosc2  # half a second, which looking whether anything changed must not cost

    chunks, blocks = _layout(array.shape, all_axes)
    settings = blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=1, nthreads=1)
    with atomic_path(
        path, durable=False
    ) as temporary:  # chunk by chunk to the file: a compressed copy in memory could be as large again
        blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(temporary),
            mode="w",
            chunks=chunks,
            blocks=blocks,
            cparams=settings,
        )


def _layout(shape: tuple[int, ...], all_axes: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and block shape: small volumes are one block; else a block is one slice, or a cube where all axes
    are cut across."""
    if len(shape) == 2 or np.prod(shape[-3:]) <= _WHOLE_VOXELS:
        return shape, shape if len(shape) < 4 else (1, *shape[1:])
    front, (depth, height, width) = shape[:-3], shape[-3:]
    if all_axes:
        block = tuple(min(CUBE, size) for size in (depth, height, width))
        chunk = tuple(min(4 * CUBE, size) for size in (depth, height, width))
    else:
        block = (1, height, width)
        chunk = (max(1, min(depth, CHUNK_VOXELS // (height * width))), height, width)
    return (*(1 for _ in front), *chunk), (*(1 for _ in front), *block)


def _damaged(path: Path, found: str, expected: str) -> PreprocessingError:
    return PreprocessingError(
        path,
        found=found,
        expected=expected,
        fix="make the damaged cases again: balrsam plan_and_preprocess DATASET",
    )
