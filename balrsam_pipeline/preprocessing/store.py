"""Preprocessed cases on disk: blosc2 arrays in which one slice is one small read, and one JSON file per case;
small cases of many share files (`packs.py`).

`CASE.b2nd` float32 (channel, z, y, x); `CASE_label.b2nd` int16 (z, y, x); `CASE_foreground.b2nd` int32 (n, 3)
voxels of every label in turn; `CASE.json` the properties, written last: a case without it is not there.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.layout import StoredFiles
from balrsam_pipeline.plan import Configuration
from balrsam_pipeline.preprocessing.array_files import file_crc32, write_array
from balrsam_pipeline.preprocessing.case import CaseProperties, PreprocessedCase
from balrsam_pipeline.preprocessing.conservation import LabelVoxels
from balrsam_pipeline.preprocessing.pack_index import PackedCase, PackIndex, read_indices
from balrsam_pipeline.preprocessing.packs import (
    PackEntry,
    encode,
    entry_of,
    read_array,
    read_facts,
)
from balrsam_pipeline.preprocessing.stored_case import StoredCase, arrays_of, damaged, facts_of
from balrsam_pipeline.serialise import from_json, to_json

SHARED = ("2d", "triplanar")  # folders of what is cut along the first axis alone, and along all
KEPT_FACTS = 2**12  # cases of which CASE.json is kept in memory


def store_folder(preprocessed_dataset: Path, configuration: Configuration) -> Path:
    """The folder that a configuration's cases lie in; configurations that preprocess alike share one.

    What keeps its resolution lies in `2d` (`2d` and `2.5d`) or `triplanar` (`triplanar` and `3d`); what is
    made smaller is named by its spacing, or by the size that each picture is fitted to.
    """
    shared = SHARED[configuration.slicing_axes != (0,)]
    if not configuration.antialias:
        return preprocessed_dataset / shared
    spacing = configuration.spacing_mm if shared != SHARED[0] else configuration.spacing_mm[1:]
    how, seen = ("fitted", configuration.fitted_to) if configuration.fitted_to else ("spacing", spacing)
    return preprocessed_dataset / f"{shared}_{how}_{'x'.join(f'{value:.6g}' for value in seen)}"


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
    arrays = arrays_of(files, preprocessed, labels)
    for path, array in arrays.by_path.items():
        write_array(path, array, all_axes)
    written = {path.name: (path.stat().st_size, file_crc32(path)) for path in arrays.by_path}
    stored = facts_of(preprocessed, arrays, recipe_sha256, written)
    write_json(files.facts, to_json(stored), durable=False)


def pack_case(
    folder: Path, case: str, preprocessed: PreprocessedCase, labels: LabelScheme, recipe_sha256: str
) -> PackEntry:
    """What goes into a pack of `folder` of one small case."""
    arrays = arrays_of(StoredFiles(folder, case), preprocessed, labels)
    encoded = {path.name: encode(array) for path, array in arrays.by_path.items()}
    written = {name: (len(content), zlib.crc32(content)) for name, content in encoded.items()}
    return entry_of(facts_of(preprocessed, arrays, recipe_sha256, written), encoded)


def read_stored(folder: Path, case: str) -> StoredCase:
    """Read CASE.json and check that its arrays are there in full length.

    Raises:
        PreprocessingError: a file of the case is missing, damaged or truncated.
    """
    path = StoredFiles(folder, case).facts
    stored = from_json(StoredCase, read_json(path, PreprocessingError), path, PreprocessingError)
    _require_sizes(folder, stored.stored_bytes)
    return stored


def _require_sizes(folder: Path, stored_bytes: Mapping[str, int]) -> None:
    for name, size in stored_bytes.items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            raise damaged(
                folder / name, "no such file" if found is None else f"{found} bytes", f"{size} bytes"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glance:
    """What is asked of every case: little enough to be kept of 100,000."""

    shape: tuple[int, int, int]
    recipe_sha256: str
    loses_labels: bool


def _glance(folder: Path, case: str) -> _Glance:
    """The same checks as `read_stored`, without making dataclasses of all of CASE.json."""
    value = read_json(StoredFiles(folder, case).facts, PreprocessingError)
    try:
        depth, height, width = map(int, value["properties"]["shape"])
        sizes = {str(name): int(size) for name, size in value["stored_bytes"].items()}
        glance = _Glance(
            shape=(depth, height, width),
            recipe_sha256=str(value["recipe_sha256"]),
            loses_labels=any(voxels["lost"] for voxels in value.get("label_voxels", {}).values()),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        read_stored(folder, case)  # says what is wrong with it
        raise
    _require_sizes(folder, sizes)
    return glance


class CaseStore:
    """The preprocessed cases of one folder, read slice by slice; safe to hand to worker processes.

    Small cases of many lie in packs, the others in files of their own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._packed: PackIndex | None = None
        self._glances: dict[str, _Glance] = {}
        self._stored: dict[str, StoredCase] = {}  # the last KEPT_FACTS that were asked for
        self._sound: set[str] = set()  # array files whose checksum was compared

    @property
    def cases(self) -> tuple[str, ...]:
        """Names of the cases that are there in full, sorted.

        Raises:
            PreprocessingError: a pack is damaged.
        """
        own = (path.stem for path in self.folder.glob("*.json") if not path.name.startswith("."))
        return tuple(sorted({*self._packs(), *own}))

    @property
    def has_packs(self) -> bool:
        """Whether small cases of many share files here."""
        return len(self._packs()) > 0

    def properties(self, case: str) -> CaseProperties:
        """Geometry, crop box and shapes of a case."""
        return self._case(case).properties

    def shape(self, case: str) -> tuple[int, int, int]:
        """(z, y, x) voxels of the preprocessed case."""
        packs = self._packs()
        return packs.shape(case) if case in packs else self._glance(case).shape

    def recipe(self, case: str) -> str:
        """The hash of all that a case was made of, "" where it is not there in full."""
        if case not in self._packs() and not StoredFiles(self.folder, case).facts.is_file():
            return ""
        try:
            return self._glance(case).recipe_sha256
        except PreprocessingError:
            return ""

    def label_voxels(self, case: str) -> dict[str, LabelVoxels]:
        """Label value -> what became of its voxels, of those of which some were lost."""
        if not self._glance(case).loses_labels:
            return {}
        return {value: voxels for value, voxels in self._case(case).label_voxels.items() if voxels.lost}

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
        block = self._image(case, (slice(None), *_across(axis, first, int(wanted[-1]) + 1)))
        slices = np.moveaxis(block, axis + 1, 0)[wanted - first]
        return np.ascontiguousarray(slices.reshape(-1, *slices.shape[2:]))

    def read_label_slice(self, case: str, index: int, axis: int = 0) -> npt.NDArray[np.int16]:
        """The label map of one slice, int16 (h, w)."""
        return np.ascontiguousarray(self._label(case, _across(axis, index, index + 1)).squeeze(axis))

    def read_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.float32]:
        """A box of a case's image, float32 (channel, z, y, x)."""
        return self._image(case, (slice(None), *box))

    def read_label_box(self, case: str, box: tuple[slice, slice, slice]) -> npt.NDArray[np.int16]:
        """A box of a case's label map, int16 (z, y, x)."""
        return self._label(case, box)

    def read_image(self, case: str) -> npt.NDArray[np.float32]:
        """The whole case, float32 (channel, z, y, x)."""
        return self._image(case, ())

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

    def _image(self, case: str, where: tuple[slice, ...]) -> npt.NDArray[np.float32]:
        shape = (-1, *self.shape(case))
        return self._read(case, StoredFiles(self.folder, case).image, where, np.dtype(np.float32), shape)

    def _label(self, case: str, where: tuple[slice, ...]) -> npt.NDArray[np.int16]:
        path, shape = StoredFiles(self.folder, case).label, self.shape(case)
        return self._read(case, path, where, np.dtype(np.int16), shape)

    def _rows(self, case: str) -> npt.NDArray[np.int32]:
        path = StoredFiles(self.folder, case).foreground
        if path.name not in self._case(case).stored_bytes:
            return np.zeros((0, 3), dtype=np.int32)
        return self._read(case, path, (), np.dtype(np.int32), (-1, 3))

    def _packs(self) -> PackIndex:
        if self._packed is None:
            self._packed = read_indices(self.folder)
        return self._packed

    def _glance(self, case: str) -> PackedCase | _Glance:
        packed = self._packs().get(case)
        if packed is not None:
            return packed
        if case not in self._glances:
            self._glances[case] = _glance(self.folder, case)
        return self._glances[case]

    def _case(self, case: str) -> StoredCase:
        if case not in self._stored:
            packed = self._packs().get(case)
            while len(self._stored) >= KEPT_FACTS:
                self._stored.pop(next(iter(self._stored)))
            self._stored[case] = read_stored(self.folder, case) if packed is None else read_facts(packed)
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
        if expected is not None and path.is_file() and file_crc32(path) != expected:
            with suppress(OSError):  # a store that is only read from
                StoredFiles(self.folder, case).facts.unlink(missing_ok=True)
            raise damaged(path, f"damaged content of case {case} (its checksum does not fit)", "as written")
        self._sound.add(path.name)

    def _read(
        self,
        case: str,
        path: Path,
        where: tuple[slice, ...],
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
    ) -> npt.NDArray[Any]:
        """Part of an array of `dtype` and `shape`, of which one axis may be of any length (-1)."""
        packed = self._packs().get(case)
        if packed is not None:
            return self._read_packed(packed, case, path.name, dtype, shape)[where]
        import blosc2

        self._require_sound(case, path)
        try:
            stored = blosc2.open(str(path), mode="r", dparams=blosc2.DParams(nthreads=1))
            if stored.dtype != dtype or not _fits(stored.shape, shape):
                raise ValueError(f"{stored.dtype} of shape {stored.shape}")
            array: npt.NDArray[Any] = stored[where]
        except Exception as problem:  # blosc2 raises half a dozen kinds for a damaged file
            expected = f"a whole blosc2 array, {dtype} of shape {shape}"
            raise damaged(path, f"cannot be read: {problem}", expected) from None
        return array

    def _read_packed(
        self, packed: PackedCase, case: str, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> npt.NDArray[Any]:
        """An array of a pack. A damaged pack is removed, so that plan_and_preprocess makes it again."""
        try:
            return read_array(packed, self._case(case), name, dtype, shape)
        except PreprocessingError:
            with suppress(OSError):  # a store that is only read from
                packed.path.unlink(missing_ok=True)
            raise


def _fits(shape: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        wanted in (-1, length) for length, wanted in zip(shape, expected, strict=True)
    )


def _across(axis: int, start: int, stop: int) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if dimension == axis else slice(None) for dimension in range(3))
