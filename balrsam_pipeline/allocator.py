"""glibc's allocator, told to keep what is freed: a network on a CPU frees and takes the same megabytes in
every layer.

By default glibc gives large blocks back to the system at once, and every page must then be zeroed and mapped
anew: 12,000 page faults per forward pass of 72 patches of 32×48, a sixth to a quarter of its time (measured,
docs/benchmarks.md).
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
REUSED_BYTES = 64 * 2**20  # larger blocks are volumes, not activations: those still go back at once
KEPT_BYTES = 512 * 2**20  # free memory at the end of the heap that stays with the process


def keep_freed_memory() -> bool:
    """Set both thresholds for this process; returns whether there was a glibc to take them."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, REUSED_BYTES)) and bool(mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
