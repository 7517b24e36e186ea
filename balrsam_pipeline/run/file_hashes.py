"""What files hold, by SHA-256; a file that has not been touched since it was hashed is not read again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.files import file_stamp, read_json, write_json

SETTLED_S = (
    1.0  # a file changed this recently could change again within the same tick of the file system's clock
)
THREADS = 4  # hashing leaves Python's lock; a disk gains nothing from more


class ContentHashes:
    """SHA-256 of files, remembered by their stamps (`files.file_stamp`).

    Args:
        path: where they are kept between runs; a damaged or missing file means that all is read anew.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._changed = path, False
        self._known: dict[str, list[int | str]] = {}
        try:
            value = read_json(path)
        except BalrsamError:
            return
        if isinstance(value, dict):
            self._known = {
                name: entry for name, entry in value.items() if isinstance(entry, list) and len(entry) == 5
            }

    def of(self, paths: Iterable[Path]) -> dict[Path, str]:
        """The SHA-256 of every file, in hexadecimal.

        Raises:
            OSError: a file cannot be read.
        """
        wanted = list(paths)
        with ThreadPoolExecutor(THREADS) as threads:
            return dict(zip(wanted, threads.map(self._hash, wanted), strict=True))

    def save(self) -> None:
        """Keep what was learnt for the next run."""
        if self._changed:
            write_json(self._path, self._known)
            self._changed = False

    def _hash(self, path: Path) -> str:
        state, key = [*file_stamp(path)], str(path.absolute())
        known = self._known.get(key)
        if known is not None and known[:4] == state:
            return str(known[4])
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - state[2] > SETTLED_S * 1e9 and [*file_stamp(path)] == state:
            self._known[key] = [*state, found]
            self._changed = True
        return found


def find_files(patterns: Iterable[str], bases: Mapping[str, Path]) -> dict[str, Path]:
    """The files that labels such as `results/fold_*/log.jsonl` stand for: label -> path, sorted; hidden files
    are left out.

    Args:
        bases: first part of a label -> the folder it stands for.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        base, _, rest = pattern.partition("/")
        folder = bases[base]
        candidates = folder.glob(rest) if "*" in rest else [folder / rest]
        for path in candidates:
            if path.is_file() and not path.name.startswith("."):
                found[f"{base}/{path.relative_to(folder).as_posix()}"] = path
    return dict(sorted(found.items()))
