"""The processor cores that this process may use, and how many cores other programs keep busy."""

from __future__ import annotations

import ctypes
import math
import os
import time
from pathlib import Path
from typing import Any

QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container (cgroup v2): microseconds of work a period, or "max"
OLD_QUOTA = tuple(  # the same in cgroup v1: microseconds (-1: no limit), and the period
    Path("/sys/fs/cgroup/cpu") / name for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
)
ALL_WORK = Path("/proc/stat")
MEASURABLE_S = 0.2  # the system counts in hundredths of seconds
QUERY_LIMITED, STILL_ACTIVE = 0x1000, 259  # of Windows' processes
IDLE, WAITING = 3, 4  # columns of the line "cpu": idle, waiting for a disk


def usable_cores() -> int:
    """Cores that this process may use: of its affinity, and no more than its container is given."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(affinity, _quota())))


class OtherWork:
    """How many cores other programs use, measured from here on (Linux)."""

    def __init__(self) -> None:
        self._begun = self._seen()

    def cores(self) -> float | None:
        """Cores that others kept busy on average since the last call; None where that cannot be told."""
        before, self._begun = self._begun, self._seen()
        if before is None or self._begun is None or self._begun[0] - before[0] < MEASURABLE_S:
            return None
        wall_s, all_s, own_s = (now - then for now, then in zip(self._begun, before, strict=True))
        return max(0.0, (all_s - own_s) / wall_s)

    @staticmethod
    def _seen() -> tuple[float, float, float] | None:
        """Seconds: now, worked by all cores, worked by this process and those that it has started."""
        try:
            ticks = [int(word) for word in ALL_WORK.read_text().splitlines()[0].split()[1:9]]
            own = sum(os.times()[:4])
            worked = (sum(ticks) - ticks[IDLE] - ticks[WAITING]) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None
        return time.monotonic(), worked, own


def _quota() -> float:
    """Cores that the container is given; infinite where none is said."""
    try:
        words = QUOTA.read_text().split() if QUOTA.exists() else [path.read_text() for path in OLD_QUOTA]
        quota, period = words
        return math.inf if quota == "max" or int(quota) < 0 else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return math.inf


def alive(pid: int) -> bool:
    """Whether this machine has a process of that number."""
    if os.name == "nt":  # where os.kill ends the process that it asks about
        return _alive_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _alive_on_windows(pid: int) -> bool:
    kernel: Any = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    handle = kernel.OpenProcess(QUERY_LIMITED, False, pid)
    if not handle:
        return False
    code = ctypes.c_ulong()
    known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return bool(known) and code.value == STILL_ACTIVE
