"""The operating system's lock on an open file, and its list of processes: what differs between Linux, macOS
and Windows below `balrsam_pipeline/execution/lock.py`."""

from __future__ import annotations

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

from balrsam_pipeline.processor import alive as alive

# where a system has no such flag its files are no links, pipes or text to beware of
READING = (
    os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)
WRITING = READING | os.O_RDWR | os.O_CREAT
LOCKED_BYTE = 2**30  # Windows locks bytes, and nobody may read those: one far behind all content


class NoSystemLock(OSError):
    """The system, or this file system, has no lock that ends with its holder."""


def take_lock(descriptor: int) -> bool:
    """Lock an open file until it is closed; False where another process holds it.

    Raises:
        NoSystemLock: there are no locks here.
    """
    try:
        fcntl = importlib.import_module("fcntl")
    except ImportError:
        return _take_on_windows(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:
        raise NoSystemLock(problem.errno, problem.strerror) from problem
    return True


def _take_on_windows(descriptor: int) -> bool:
    try:
        msvcrt: Any = importlib.import_module("msvcrt")
    except ImportError:
        raise NoSystemLock("neither fcntl nor msvcrt") from None
    os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    return True


def read_at_start(descriptor: int, most: int) -> bytes:
    """Up to `most` bytes from the beginning of an open file."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, most)


def write_anew(descriptor: int, content: bytes) -> None:
    """Replace what an open file holds."""
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content)


def touch(descriptor: int, path: Path) -> None:
    """Set the time of an open file to now; of what its path leads to where a system knows paths alone."""
    with contextlib.suppress(FileNotFoundError):  # the holder is about to end
        os.utime(descriptor if os.utime in os.supports_fd else path)


def remove_and_close(path: Path, descriptor: int) -> None:
    """Remove a lock file and let go of it: in this order, so that nobody locks a file that is about to go;
    Windows removes no file that is open."""
    try:
        path.unlink(missing_ok=True)
    except PermissionError:
        os.close(descriptor)
        with contextlib.suppress(PermissionError):  # another process looks at it: its turn to remove it
            path.unlink(missing_ok=True)
        return
    os.close(descriptor)
