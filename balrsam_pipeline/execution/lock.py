"""One process at a time in a folder: an advisory lock that dies with its process.

On one machine the operating system's lock (`os_lock.py`) decides: it is dropped when its holder ends, however
it ends. Where there is none, or file systems do not carry it from host to host, the lock file does: it names
pid and host of its holder, who touches it every few seconds (its heartbeat). A holder on another host whose
heartbeat has stopped is taken for dead; one on this host, whose process is gone.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.execution.os_lock import (
    READING,
    WRITING,
    NoSystemLock,
    alive,
    read_at_start,
    remove_and_close,
    take_lock,
    touch,
    write_anew,
)
from balrsam_pipeline.json_text import parse_json

LOG = logging.getLogger(__name__)
LOCK_NAME = ".balrsam.lock"
PARTS = ".balrsam-part-*.lock"
LOOKS_BEFORE_REFUSING = 3  # somebody may only be looking who holds it, which takes the lock for an instant
LOOK_S = 0.1
LARGEST_PID = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class LockTiming:
    """Seconds between heartbeats, after how many without one a holder on another host is dead, and between
    looks while waiting."""

    heartbeat_s: float = 10.0
    stale_s: float = 60.0
    look_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a folder: process, host, since when (UTC, ISO), doing what."""

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host} since {self.since} ({self.command})"


DEFAULT_TIMING = LockTiming()


@contextmanager
def folder_lock(
    folder: Path,
    *,
    part: str | None = None,
    wait: bool = False,
    telling: str = "waiting for",
    timing: LockTiming = DEFAULT_TIMING,
) -> Iterator[None]:
    """Hold `folder` for this process; the lock file is removed at the end.

    Args:
        part: hold only this part of the folder, such as "1/4", beside others that hold theirs; the whole is
            then held by nobody.
        wait: wait until the folder is free instead of refusing.
        telling: what is said, once, before the name of the holder that is waited for.

    Raises:
        UsageError: another process holds it; the message names pid, host and since when.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (LOCK_NAME if part is None else f".balrsam-part-{part.replace('/', '-of-')}.lock")
    descriptor = _acquire(path, telling if wait else None, timing)
    ended = threading.Event()
    beating = threading.Thread(target=_beat, args=(descriptor, path, ended, timing.heartbeat_s), daemon=True)
    try:
        _write_holder(descriptor)
        beating.start()
        for other in folder.glob(PARTS if part is None else LOCK_NAME):
            holder = lock_holder(folder, name=other.name)
            if holder is not None:
                raise _in_use(folder, holder)
        yield
    finally:
        ended.set()
        if beating.ident is not None:
            beating.join()
        remove_and_close(path, descriptor)


def lock_holder(folder: Path, *, name: str = LOCK_NAME, timing: LockTiming = DEFAULT_TIMING) -> Holder | None:
    """Who holds `folder` now; None where nobody does, or only a dead process did. Changes nothing."""
    try:
        descriptor = os.open(folder / name, READING)
    except OSError:
        return None
    try:
        return _living_holder(descriptor, timing)
    finally:
        os.close(descriptor)


def _acquire(path: Path, telling: str | None, timing: LockTiming) -> int:
    """Open and lock `path`; try again where the holder removed the file between our opening and locking
    it. What is told where another holds it, or None to refuse instead of waiting."""
    said, looks = False, 0
    while True:
        descriptor = _open_own(path)
        holder = _living_holder(descriptor, timing)
        if holder is None and _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)
        if holder is None:
            continue
        looks += 1
        if looks < LOOKS_BEFORE_REFUSING:
            time.sleep(LOOK_S)
            continue
        if telling is None:
            raise _in_use(path.parent, holder)
        if not said:
            LOG.info("%s: %s %s", path.parent, telling, holder)
            said = True
        time.sleep(timing.look_s)


def _open_own(path: Path) -> int:
    """Open the lock file, or make it; a link, a second name of somebody's file, or a device is not
    touched."""
    try:
        descriptor = os.open(path, WRITING, 0o644)
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _planted(path) from None
        raise
    state = os.fstat(descriptor)
    if not stat.S_ISREG(state.st_mode) or state.st_nlink > 1:
        os.close(descriptor)
        raise _planted(path)
    return descriptor


def _planted(path: Path) -> UsageError:
    return UsageError(
        path,
        found="a link or another kind of file under the name of our lock file",
        expected="no such file, or a plain one that balrsam made",
        fix="look who put it there, remove it, and run the same command again",
    )


def _living_holder(descriptor: int, timing: LockTiming) -> Holder | None:
    """Whoever holds the open lock file; None where it is ours (on return it is locked) or its holder is
    dead."""
    try:
        locked = take_lock(descriptor)
        if not locked:
            return _read_holder(descriptor) or Holder(
                pid=0, host="this machine", since="a moment ago", command="just starting"
            )
    except NoSystemLock:  # the lock file alone decides
        locked = False
    holder = _read_holder(descriptor)
    if holder is None:
        return None
    if holder.host == socket.gethostname():
        return None if locked or holder.pid == os.getpid() or not alive(holder.pid) else holder
    return holder if _beats(descriptor, timing) else None


def _beats(descriptor: int, timing: LockTiming) -> bool:
    """Whether the heartbeat is fresh; where the clocks of two hosts make it look old, watch whether the next
    one comes."""
    before = os.fstat(descriptor).st_mtime
    if abs(time.time() - before) < timing.stale_s:
        return True
    deadline = time.monotonic() + 1.5 * timing.heartbeat_s
    while time.monotonic() < deadline:
        time.sleep(timing.heartbeat_s / 10)
        if os.fstat(descriptor).st_mtime != before:
            return True
    return False


def _beat(descriptor: int, path: Path, ended: threading.Event, every_s: float) -> None:
    while not ended.wait(every_s):
        touch(descriptor, path)


def _write_holder(descriptor: int) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name.replace("__main__.py", "balrsam"), *sys.argv[1:2]]),
    }
    write_anew(descriptor, json.dumps(holder).encode())


def _read_holder(descriptor: int) -> Holder | None:
    try:
        value: Any = parse_json(read_at_start(descriptor, 4000))
        if not 0 < int(value["pid"]) < LARGEST_PID:
            return None
        return Holder(
            pid=int(value["pid"]),
            host=str(value["host"]),
            since=str(value.get("since", "?")),
            command=str(value["command"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None  # a planted pipe or folder; or its holder died before it could say who it is


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.fstat(descriptor).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _in_use(folder: Path, holder: Holder) -> UsageError:
    stop = f"kill {holder.pid}" + ("" if holder.host == socket.gethostname() else f" on {holder.host}")
    return UsageError(
        folder,
        found=f"in use by another balrsam: {holder}",
        expected="one process at a time in this folder",
        fix=f"wait for it to end (balrsam run --wait does), or stop it ({stop}); nothing has to be removed "
        "by hand",
    )
