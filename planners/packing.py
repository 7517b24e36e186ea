"""Which small cases go into which pack, when it is written, and what is taken out of it again.

A case belongs to a pack by its place among all cases of the dataset, so the same dataset gives the same
packs, whether it was preprocessed in one go, by any number of workers, or killed in between.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.layout import StoredFiles, pack_paths
from balrsam_pipeline.preprocessing import (
    MANY,
    PackedCase,
    PackEntry,
    pack_of,
    read_entry,
    read_index,
    write_pack,
)


class Packs:
    """The packs of a store while a dataset is preprocessed."""

    def __init__(self, store: Path, recipes: Mapping[str, str]) -> None:
        """Remember how.

        Args:
            recipes: case -> hash of all that it is made of, of every case of the dataset.
        """
        self._store, self._recipes = store, recipes
        self._place = {case: place for place, case in enumerate(sorted(recipes))}
        self._waiting: dict[Path, set[str]] = defaultdict(set)
        self._entries: dict[Path, dict[str, PackEntry]] = defaultdict(dict)

    @property
    def many(self) -> bool:
        """Whether there are so many cases that small ones share files."""
        return len(self._recipes) >= MANY

    def remove_outdated(self) -> None:
        """Take out of all packs what is to be made anew, or of no case of the dataset any more; a damaged
        pack goes altogether."""
        for path in pack_paths(self._store):
            there = _index(path)
            valid = {
                case: packed
                for case, packed in there.items()
                if packed.recipe_sha256 == self._recipes.get(case)
            }
            if not valid or len(valid) < len(there):
                write_pack(path, {case: read_entry(packed) for case, packed in valid.items()})

    def expect(self, cases: Iterable[str]) -> None:
        """These cases are going to be done."""
        for case in cases:
            self._waiting[self._pack(case)].add(case)

    def done(self, case: str, entry: PackEntry | None) -> None:
        """A case is done, or has failed; its pack is written with the last that belongs to it.

        Args:
            entry: None of a case that failed or has files of its own.
        """
        path = self._pack(case)
        if entry is not None:
            self._entries[path][case] = entry
        self._waiting[path].discard(case)
        if not self._waiting[path]:
            del self._waiting[path]
            self._write(path, self._entries.pop(path, {}))

    def _pack(self, case: str) -> Path:
        return pack_of(self._store, self._place[case])

    def _write(self, path: Path, fresh: Mapping[str, PackEntry]) -> None:
        if not fresh:
            return
        own = [StoredFiles(self._store, case) for case in fresh]
        for files in own:  # what an older version kept in files of its own
            files.facts.unlink(missing_ok=True)
        kept = {case: read_entry(packed) for case, packed in _index(path).items()}
        self._store.mkdir(parents=True, exist_ok=True)
        write_pack(path, {**kept, **fresh})
        for files in own:
            for array in files.arrays:
                array.unlink(missing_ok=True)


def _index(path: Path) -> Mapping[str, PackedCase]:
    """The cases of a pack; none where it is missing or damaged."""
    try:
        return read_index(path)
    except PreprocessingError:
        return {}
