"""One process at a time in a folder: an advisory lock that dies with its process, so that it can never be stale.

The operating system drops the lock (flock) when its holder ends, however it ends; the file itself only tells people who holds it.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from balrsam_pipeline.errors import UsageError

LOCK_NAME = ".balrsam.lock"


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the lock file is removed at the end.

    Raises:
        UsageError: another process holds it; the message names it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK_NAME
    descriptor = _acquire(path)
    try:
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "command": Path(sys.argv[0]).name}
        os.truncate(descriptor, 0)
        os.write(descriptor, json.dumps(holder).encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """Open and lock `path`; try again where the holder removed the file between our opening and locking it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held_by = os.read(descriptor, 1000).decode(errors="replace") or "an unknown process"
            os.close(descriptor)
            raise UsageError(
                path.parent,
                found=f"in use by another balrsam: {held_by}",
                expected="one process at a time in this folder",
                mend="wait for it to end, or stop it (kill PID); nothing has to be removed by hand",
            ) from None
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
        os.close(descriptor)
