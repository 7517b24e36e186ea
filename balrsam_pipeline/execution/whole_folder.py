"""Making a folder that is either whole or not there, whatever happens to the process that makes it.

What it was made of is noted in it, so that the same command, given again, finds it done. What a killed
process left half made is removed by the next that makes the same folder.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.files import final_name, is_leftover, read_text, temporary_sibling, write_text
from balrsam_pipeline.layout import MADE_OF

SCRATCH = ".scratch"  # at the end of the final name of a folder for work


@contextmanager
def whole_folder(target: Path, made_of: str) -> Iterator[Path]:
    """Yield a temporary folder beside `target`, renamed to it on success and removed on any exception.

    Args:
        target: must not exist, or be empty.
        made_of: what tells the folder from one made otherwise, such as a hash of settings and inputs.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(target)
    temporary = temporary_sibling(target)
    temporary.mkdir()
    try:
        yield temporary
        write_text(temporary / MADE_OF, f"{made_of}\n")
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def scratch_folder(beside: Path) -> Iterator[Path]:
    """Yield a folder for work on the way to `beside`, on the same file system, removed in any case; what a
    killed process left of it is removed by the next."""
    named = beside.with_name(f"{final_name(beside) or beside.name}{SCRATCH}")
    named.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(named)
    folder = temporary_sibling(named)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_made(target: Path, made_of: str) -> bool:
    """Whether a folder is there and whole, made of the same."""
    try:
        return read_text(target / MADE_OF).strip() == made_of
    except BalrsamError:
        return False


def size_and_date(path: Path) -> tuple[int, ...]:
    """Size and modification time (ns) of a file: what a copy keeps."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def tree_state_sha256(folder: Path, stamp: Callable[[Path], tuple[int, ...]] = size_and_date) -> str:
    """SHA-256 of the names of all files below a folder, and of what `stamp` says of each: by default what
    stays when the folder is copied; `files.file_stamp` where a change must not be missed."""
    entries = sorted(
        ":".join([str(path.relative_to(folder)), *map(str, stamp(path))])
        for path in folder.rglob("*")
        if path.is_file()
    )
    return hashlib.sha256("\n".join(entries).encode("utf-8", "surrogateescape")).hexdigest()


def _remove_leftovers(target: Path) -> None:
    """Remove what processes that are no more left of the same folder."""
    for path in target.parent.glob(".tmp-*-*"):
        if final_name(path) == target.name and is_leftover(path) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
