"""How many worker processes make batches beside a GPU, and how many batches each makes ahead: bounded by
cores, by bytes, and by the shared memory that there is (64 MB in a container that was given no more)."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

LOG = logging.getLogger(__name__)
MOST_WORKERS = 12  # for each GPU; nnU-Net's default, and enough where the device changes intensities
AHEAD = 2  # batches a worker makes before they are asked for
PREFETCH_BYTES = 2 * 2**30  # of all batches made ahead for a GPU
SHARE = (
    0.5  # of the shared memory that is free: others use it too, and where it ends a process dies by SIGBUS
)
SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoaderSize:
    """Worker processes (0: batches are made in the training process), and batches each makes ahead."""

    workers: int
    ahead: int = AHEAD


def workers_beside_gpu(cores: int, sharing: int = 1) -> int:
    """Worker processes of a training on a GPU that shares its machine's cores with others like it, a core
    left for each training process.

    Example:
        >>> workers_beside_gpu(128), workers_beside_gpu(16, sharing=4), workers_beside_gpu(2, sharing=8)
        (12, 3, 1)
    """
    return max(1, min(MOST_WORKERS, cores // sharing - 1))


def fitted(workers: int, batch_bytes: int, room_bytes: int) -> LoaderSize:
    """The same with no more batches made ahead than fit: each worker makes one instead of two, and then there
    are fewer workers, down to none. It is warned of where that is for want of shared memory.

    Args:
        batch_bytes: of one batch as it is handed over.
        room_bytes: for all that are made ahead, see `room_for_batches`.
    """
    fitting = room_bytes // max(1, batch_bytes)
    if workers == 0 or fitting >= AHEAD * workers:
        return LoaderSize(workers=workers)
    size = LoaderSize(workers=min(workers, fitting), ahead=1)
    wanting = size.workers < min(workers, PREFETCH_BYTES // max(1, batch_bytes))
    LOG.log(
        logging.WARNING if wanting else logging.INFO,
        "batches of %.0f MB, and room for %.0f MB of them: %d worker processes with one batch each (%d asked "
        "for)%s",
        batch_bytes / 1e6,
        room_bytes / 1e6,
        size.workers,
        workers,
        f"; shared memory ({SHARED_MEMORY}) is short, and the GPU may wait for batches: give it more "
        "(docker: --shm-size=8g or --ipc=host)"
        if wanting
        else "",
    )
    return size


def room_for_batches(sharing: int = 1) -> int:
    """Bytes that batches made ahead may take for one of `sharing` trainings that share this machine."""
    room = PREFETCH_BYTES
    if SHARED_MEMORY.is_dir():
        room = min(room, int(SHARE * shutil.disk_usage(SHARED_MEMORY).free) // sharing)
    return room
