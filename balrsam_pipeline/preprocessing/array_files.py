"""One array as one blosc2 file, cut into blocks so that one slice is one small read."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.files import atomic_path

BLOCK_BYTES = 2**20
CHUNK_VOXELS = 2**22  # a chunk is what one write compresses; slices are read block by block
# block side where slices are cut along all axes: a slice along any axis then decompresses 32 of its own size
CUBE = 32
_WHOLE_VOXELS = 2**17  # volumes this small are one block, 0.5 MiB: decompressing it takes less than 0.1 ms


def write_array(path: Path, array: npt.NDArray[Any], all_axes: bool) -> None:
    """Write an array to `path`, atomically.

    Args:
        all_axes: lay it out for slices along all three axes instead of the first alone.
    """
    import blosc2  # half a second, which looking whether anything changed must not cost

    chunks, blocks = _layout(array.shape, all_axes)
    settings = blosc2.CParams(codec=blosc2.Codec.LZ4, clevel=1, nthreads=1)
    with atomic_path(
        path, durable=False
    ) as temporary:  # chunk by chunk to the file: a compressed copy in memory could be as large again
        blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(temporary),
            mode="w",
            chunks=chunks,
            blocks=blocks,
            cparams=settings,
        )


def _layout(shape: tuple[int, ...], all_axes: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk and block shape: small volumes are one block; else a block is one slice, or a cube where all axes
    are cut across."""
    if len(shape) == 2 or np.prod(shape[-3:]) <= _WHOLE_VOXELS:
        return shape, shape if len(shape) < 4 else (1, *shape[1:])
    front, (depth, height, width) = shape[:-3], shape[-3:]
    if all_axes:
        block = tuple(min(CUBE, size) for size in (depth, height, width))
        chunk = tuple(min(4 * CUBE, size) for size in (depth, height, width))
    else:
        block = (1, height, width)
        chunk = (max(1, min(depth, CHUNK_VOXELS // (height * width))), height, width)
    return (*(1 for _ in front), *chunk), (*(1 for _ in front), *block)


def file_crc32(path: Path) -> int:
    """CRC-32 of a file's bytes."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            checksum = zlib.crc32(block, checksum)
    return checksum
