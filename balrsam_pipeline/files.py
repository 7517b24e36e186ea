"""Writing files so that a reader finds the old one or the new one, never half of one."""

from __future__ import annotations

import codecs
import dataclasses
import json
import os
import re
import secrets
import shutil
import socket
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import BalrsamError, DatasetError
from balrsam_pipeline.json_text import LARGEST_BYTES, JsonTextError, parse_json
from balrsam_pipeline.processor import alive

# process, what nobody can guess and which host (older versions wrote neither or the first alone), final name
TEMPORARY = re.compile(r"\.tmp-(?P<pid>\d+)-(?:[0-9a-f]{8}(?P<host>[0-9a-f]{4})?-)?(?P<name>.+)", re.DOTALL)
ESCAPED = "backslashreplace"  # bytes of file names that are no UTF-8
_tidied: set[Path] = set()
_MOST_TIDIED = 10_000  # remembered


@contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; on success it is fsynced and renamed to `path`.

    The temporary name keeps the file ending (`.tmp-PID-RANDOM-` is put in front), because image libraries
    choose the format by it, and nobody can guess it, to plant a link there. On any exception the temporary
    file is removed and `path` is as it was. Where `path` is a link, the link is replaced, not what it leads
    to. Temporary files that processes killed before left in the folder are removed with the first that this
    process writes there.

    Args:
        durable: wait until the content is on the disk. Without, a power cut (not a kill) may leave the file
            short: for what is checked before use and can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(path.parent)
    temporary = temporary_sibling(path)
    try:
        yield temporary
        if durable:
            _to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_stamp(path: Path) -> tuple[int, int, int, int]:
    """What shows that a file was written to: size, times of the last change of its content and of its inode
    (ns), and the inode. The last but one no program can set: a modification time that was put back does not
    hide a change. A copy has another stamp, so that where stamps differ content decides.

    Raises:
        OSError: there is no such file.
    """
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def temporary_sibling(path: Path) -> Path:
    """A name beside `path` for what becomes it in the end: of this process and host, and not to be
    guessed."""
    return path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}{_host()}-{path.name}")


def is_leftover(path: Path) -> bool:
    """Whether a process of this host that is no more left this temporary file or folder."""
    match = TEMPORARY.fullmatch(path.name)
    return match is not None and match["host"] == _host() and not alive(int(match["pid"]))


def _tidy(folder: Path) -> None:
    if folder in _tidied:
        return
    if len(_tidied) >= _MOST_TIDIED:
        _tidied.clear()
    _tidied.add(folder)
    with os.scandir(folder) as entries:
        left = [entry.name for entry in entries if entry.name.startswith(".tmp-")]
    for path in (folder / name for name in left):
        if is_leftover(path) and not path.is_dir():
            path.unlink(missing_ok=True)


@cache
def _host() -> str:
    return f"{zlib.crc32(socket.gethostname().encode()) & 0xFFFF:04x}"


def final_name(temporary: Path) -> str | None:
    """The name that a temporary file of `atomic_path` would have got; None for any other file."""
    match = TEMPORARY.fullmatch(temporary.name)
    return match.group("name") if match else None


def _to_disk(path: Path) -> None:
    descriptor = os.open(
        path, os.O_RDWR if os.name == "nt" else os.O_RDONLY
    )  # Windows syncs what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write `text` as UTF-8 to `path`, atomically; bytes of file names that are no UTF-8 are escaped."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8", errors=ESCAPED)


def own_descriptor(path: Path, mode: int) -> int:
    """Open a file of ours to write to it where it lies, made if need be. A link planted under its name is
    removed, for what it leads to is somebody else's, as is a pipe; of a hard link (a snapshot may hold the
    other) becomes a file of its own.

    Args:
        mode: os.O_APPEND or os.O_TRUNC.
    """
    _make_own(path, keep=mode == os.O_APPEND)
    no_link = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.open(path, os.O_WRONLY | os.O_CREAT | no_link | mode, 0o644)


def _make_own(path: Path, keep: bool) -> None:
    """See that what lies under a name, if anything, is a file that no other name leads to."""
    try:
        state = path.lstat()
    except FileNotFoundError:
        return
    plain = stat.S_ISREG(state.st_mode)
    if (plain and state.st_nlink <= 1) or stat.S_ISDIR(state.st_mode):
        return
    if plain and keep:
        with atomic_path(path) as temporary:
            shutil.copyfile(path, temporary)
    else:
        path.unlink()


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write `value` as indented JSON to `path`, atomically, piece by piece; NaN and infinities are refused
    (they are not JSON).

    Dataclasses, and what has a method `to_json`, are turned into JSON values when it is their turn, so that
    100,000 cases are not in memory a second time.
    """
    encoder = json.JSONEncoder(indent=2, allow_nan=False, default=_json_value)
    with atomic_path(path, durable) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(encoder.iterencode(value))
        file.write("\n")


def _json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return value.to_json()


BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, error: type[BalrsamError] = DatasetError) -> str:
    """Read text that people wrote: UTF-8, or what its byte-order mark says (Windows editors write UTF-16).

    Raises:
        error: the file is missing, unreadable, or in another encoding.
    """
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
        return content.decode(encoding)
    except UnicodeDecodeError as problem:
        raise error(
            path,
            found=f"text that is not UTF-8 (byte {problem.start}); Latin-1, perhaps",
            expected="text in UTF-8",
            fix="save it again as UTF-8 with the editor that wrote it",
        ) from None
    except OSError as problem:
        raise error(
            path,
            found=f"cannot be read: {problem.strerror or problem}",
            expected="a text file",
            fix="check the path and its permissions",
        ) from None


def read_json(
    path: Path,
    error: type[BalrsamError] = DatasetError,
    taken_for: Callable[[dict[str, Any]], Any] | None = None,
) -> Any:
    """Read a JSON file, within the limits of `json_text`.

    Args:
        taken_for: makes of each object, as soon as it is read, what stands in its place.

    Raises:
        error: the file is missing, unreadable, or no JSON; the message names the line.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES or not path.is_file():
            raise JsonTextError("no plain file, or larger than any file of ours")
        return parse_json(path.read_bytes(), taken_for)
    except FileNotFoundError:
        raise error(
            path, found="no such file", expected="a JSON file", fix=f"create {path.name}, or check the path"
        ) from None
    except OSError as problem:
        raise error(
            path,
            found=f"cannot be read: {problem.strerror or problem}",
            expected="a readable JSON file",
            fix="check the path and its permissions",
        ) from None
    except JsonTextError as problem:
        raise error(
            path,
            found=f"no valid JSON: {problem}",
            expected="valid JSON, in UTF-8",
            fix="correct the file at the place named",
        ) from None
