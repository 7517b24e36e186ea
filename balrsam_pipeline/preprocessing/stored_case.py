"""What is kept of a preprocessed case: its facts, and its arrays by the names of their files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.layout import StoredFiles
from balrsam_pipeline.preprocessing.case import CaseProperties, PreprocessedCase
from balrsam_pipeline.preprocessing.conservation import LabelVoxels
from balrsam_pipeline.preprocessing.locations import annotated_locations, class_locations


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseArrays:
    """The arrays of a case by path, and which rows of its locations are whose (see `StoredCase`)."""

    by_path: dict[Path, npt.NDArray[Any]]
    foreground: dict[str, tuple[int, int]]
    annotated: tuple[int, int] | None


def arrays_of(files: StoredFiles, preprocessed: PreprocessedCase, labels: LabelScheme) -> CaseArrays:
    """Image, label map and locations of a case."""
    arrays: dict[Path, npt.NDArray[Any]] = {files.image: preprocessed.image_czyx}
    if preprocessed.label_zyx is None:
        return CaseArrays(by_path=arrays, foreground={}, annotated=None)
    arrays[files.label] = preprocessed.label_zyx
    locations = class_locations(preprocessed.label_zyx, labels)
    ends = np.cumsum([len(rows) for rows in locations.values()], dtype=int)
    ranges = {
        name: (int(end) - len(rows), int(end))
        for (name, rows), end in zip(locations.items(), ends, strict=True)
    }
    rows = list(locations.values())
    annotated = None
    drawn = annotated_locations(preprocessed.label_zyx, labels)
    if drawn is not None:
        rows.append(drawn)
        annotated = (int(ends[-1]), int(ends[-1]) + len(drawn))
    if sum(map(len, rows)):
        arrays[files.foreground] = np.concatenate(rows)
    return CaseArrays(by_path=arrays, foreground=ranges, annotated=annotated)


def facts_of(
    preprocessed: PreprocessedCase,
    arrays: CaseArrays,
    recipe_sha256: str,
    written: dict[str, tuple[int, int]],
) -> StoredCase:
    """The facts of a case whose arrays were written; `written` is file name -> (bytes, CRC-32)."""
    return StoredCase(
        properties=preprocessed.properties,
        recipe_sha256=recipe_sha256,
        foreground=arrays.foreground,
        stored_bytes={name: size for name, (size, _) in written.items()},
        annotated=arrays.annotated,
        label_voxels={str(value): voxels for value, voxels in preprocessed.label_voxels.items()},
        stored_crc32={name: crc32 for name, (_, crc32) in written.items()},
    )


def damaged(path: Path, found: str, expected: str) -> PreprocessingError:
    """A file of the store is not as it was written."""
    return PreprocessingError(
        path,
        found=found,
        expected=expected,
        fix="make the damaged cases again: balrsam plan_and_preprocess DATASET",
    )
