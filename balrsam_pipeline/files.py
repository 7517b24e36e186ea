"""Writing files so that a reader finds the old one or the new one, never half of one."""

from __future__ import annotations

import codecs
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import BalrsamError, DatasetError
from balrsam_pipeline.json_text import LARGEST_BYTES, JsonTextError, parse_json

TEMPORARY = re.compile(r"\.tmp-\d+-(?:[0-9a-f]{8}-)?(?P<name>.+)", re.DOTALL)


@contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary sibling of `path` to write to; on success it is fsynced and renamed to `path`.

    The temporary name keeps the file ending (`.tmp-PID-RANDOM-` is put in front), because image libraries
    choose the format by it, and nobody can guess it, to plant a link there. On any exception the temporary
    file is removed and `path` is as it was. Where `path` is a link, the link is replaced, not what it leads
    to.

    Args:
        durable: wait until the content is on the disk. Without, a power cut (not a kill) may leave the file
            short: for what is checked before use and can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        if durable:
            _to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    """Write `text` as UTF-8 to `path`, atomically."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, durable: bool = True) -> None:
    """Write `value` as indented JSON to `path`, atomically; NaN and infinities are refused (they are not
    JSON)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", durable)


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


def read_json(path: Path, error: type[BalrsamError] = DatasetError) -> Any:
    """Read a JSON file, within the limits of `json_text`.

    Raises:
        error: the file is missing, unreadable, or no JSON; the message names the line.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES or not path.is_file():
            raise JsonTextError("no plain file, or larger than any file of ours")
        return parse_json(path.read_bytes())
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
