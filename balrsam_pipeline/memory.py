"""Want of memory, in whatever words an allocator says it: told as such, with what helps against it."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from balrsam_pipeline.errors import BalrsamError

# what allocators say that raise no error class of their own: PyTorch's (CPU, CUDA, MPS), oneDNN, cuBLAS, C++,
# the loader of shared libraries, Python's threads and processes
_WORDS = (
    "out of memory",
    "not enough memory",
    "defaultcpuallocator",
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "failed to allocate",
    "could not create a primitive",
    "_alloc_failed",
    "_allocation_failed",
    "bad_alloc",
    "failed to map segment from shared object",
    "can't start new thread",
)
LIMITS = tuple(  # of a container: cgroup v2 and v1, in bytes
    Path("/sys/fs/cgroup") / name for name in ("memory.max", "memory/memory.limit_in_bytes")
)
FIX = "give it more memory, or less to do at once: fewer workers (--workers 1), and nothing else beside it"


def usable_memory() -> int | None:
    """Bytes of memory that this machine has, or its container is given; None where that cannot be told."""
    sizes = []
    if hasattr(os, "sysconf"):  # not on Windows
        sizes.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # "max" is no number
            sizes.append(int(path.read_text()))
    return min(sizes, default=None)


def is_want_of_memory(problem: BaseException) -> bool:
    """Whether an error says that memory ran out.

    Example:
        >>> is_want_of_memory(RuntimeError("could not create a primitive"))
        True
    """
    if isinstance(problem, MemoryError):
        return True
    if isinstance(problem, OSError) and problem.errno == errno.ENOMEM:
        return True
    if isinstance(problem, BalrsamError) or not isinstance(problem, (RuntimeError, ImportError, OSError)):
        return False
    said = str(problem).lower()
    return any(words in said for words in _WORDS)


def want_of_memory(
    where: object, problem: BaseException, error: type[BalrsamError] = BalrsamError
) -> BalrsamError:
    """The same, told as every other error."""
    said = " ".join(str(problem).split())[:200]
    return error(
        where,
        found=f"not enough memory{f' ({said})' if said else ''}",
        expected="memory for the work",
        fix=FIX,
    )
