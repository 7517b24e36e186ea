"""What must be known of all packed cases before the first is read: one header per pack, kept as columns of
numbers, because there may be 100,000 cases."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.json_text import JsonTextError, parse_table
from balrsam_pipeline.layout import pack_paths
from balrsam_pipeline.preprocessing.stored_case import damaged

INDEX = "cases"  # its name in a pack's metadata
_LENGTH_BYTES, _HEADER_BYTES = 8, 2**26
_FACTS = 7  # of a case in the index
_LONGEST_RECIPE = 64  # a SHA-256 in hexadecimal


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedCase:
    """Where a packed case lies: bytes [start, stop) of `path`, of which the first `facts_bytes` are its JSON,
    `facts_crc32` their checksum; `loses_labels` says that resampling lost voxels of a label."""

    path: Path
    start: int
    stop: int
    facts_bytes: int
    facts_crc32: int
    shape: tuple[int, int, int]
    recipe_sha256: str
    loses_labels: bool


class PackIndex(Mapping[str, PackedCase]):
    """Case -> where it lies, of some packs; where two hold a case, the later one counts."""

    def __init__(self, packs: Sequence[_Columns]) -> None:
        """Put the columns of several packs together."""
        self._paths = tuple(pack.path for pack in packs)
        names = [case for pack in packs for case in pack.cases]
        self._rows = {case: row for row, case in enumerate(names)}
        self._pack = np.repeat(np.arange(len(packs), dtype=np.int32), [len(pack.cases) for pack in packs])
        self._numbers = np.concatenate([pack.numbers for pack in packs] or [np.zeros((0, 8), np.int64)])
        self._recipes = np.concatenate([pack.recipes for pack in packs] or [np.zeros(0, "S1")])
        known: dict[tuple[int, int, int], tuple[int, int, int]] = {}  # most cases share theirs
        shapes = zip(*self._numbers[:, 4:7].T.tolist(), strict=True)
        self._shapes = [known.setdefault(shape, shape) for shape in shapes]

    def __getitem__(self, case: str) -> PackedCase:
        """Where a case lies."""
        row = self._rows[case]
        start, stop, facts_bytes, facts_crc32, *_, loses_labels = self._numbers[row].tolist()
        return PackedCase(
            path=self._paths[self._pack[row]],
            start=start,
            stop=stop,
            facts_bytes=facts_bytes,
            facts_crc32=facts_crc32,
            shape=self._shapes[row],
            recipe_sha256=self._recipes[row].decode(),
            loses_labels=bool(loses_labels),
        )

    def shape(self, case: str) -> tuple[int, int, int]:
        """(z, y, x) of a case, which is asked of all cases."""
        return self._shapes[self._rows[case]]

    def __contains__(self, case: object) -> bool:
        """Whether a pack holds the case."""
        return case in self._rows

    def __iter__(self) -> Iterator[str]:
        """The names of the cases."""
        return iter(self._rows)

    def __len__(self) -> int:
        """How many cases there are."""
        return len(self._rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The index of one pack.

    `numbers` (case, 8): start, stop, bytes and checksum of the facts, shape (z, y, x), whether labels were
    lost.
    """

    path: Path
    cases: tuple[str, ...]
    numbers: npt.NDArray[np.int64]
    recipes: npt.NDArray[np.bytes_]


def read_index(path: Path) -> PackIndex:
    """The cases of a pack.

    Raises:
        PreprocessingError: it is no pack, or damaged.
    """
    return PackIndex([_read_columns(path)])


def read_indices(store: Path) -> PackIndex:
    """The cases of all packs of a store.

    Raises:
        PreprocessingError: a pack is damaged.
    """
    return PackIndex([_read_columns(path) for path in pack_paths(store)])


def _read_columns(path: Path) -> _Columns:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            if length > min(size, _HEADER_BYTES):
                raise ValueError(f"a header of {length} bytes")
            header = parse_table(file.read(length))
        index = parse_table(header["__metadata__"][INDEX])
        return _columns(path, index, header, (_LENGTH_BYTES + length, size))
    except (
        OSError,
        JsonTextError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as problem:
        raise damaged(path, f"cannot be read: {problem}", "a pack of cases") from None


def _columns(path: Path, index: Any, header: Any, content: tuple[int, int]) -> _Columns:
    """The index as columns, once it is sure that every case lies inside the pack's content [first, stop)."""
    cases = tuple(index)
    if any(len(line) != _FACTS for line in index.values()):
        raise ValueError("an index of other facts")
    lines = [(*line[:5], line[6]) for line in index.values()]
    recipes = [str(line[5]).encode("ascii") for line in index.values()]
    if max(map(len, recipes), default=0) > _LONGEST_RECIPE:
        raise ValueError("a recipe that is no hash")
    offsets = [header[str(number)]["data_offsets"] for number in range(len(cases))]
    first, size = content
    place = np.array(offsets, dtype=np.int64).reshape(-1, 2) + first
    facts = np.array(lines, dtype=np.int64).reshape(-1, 6)
    start, stop, facts_stop = place[:, 0], place[:, 1], place[:, 0] + facts[:, 3]
    if not ((first <= start) & (start <= facts_stop) & (facts_stop <= stop) & (stop <= size)).all():
        raise ValueError("a case that lies outside the file")
    numbers = np.column_stack((place, facts[:, 3:5], facts[:, :3], facts[:, 5]))
    return _Columns(path=path, cases=cases, numbers=numbers, recipes=np.array(recipes, dtype="S"))
