"""Logits from the preprocessed grid to the image's, chunk by chunk: linear, at the coordinates of `skimage.transform.resize`.

An output voxel i reads the input at (i + 0.5) * input / output - 0.5, clamped to the edge voxels; torch's `bilinear` with
`align_corners=False` uses the same ones in-plane. Chunks are slabs of output slices, so memory is bounded whatever the volume.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.inference.logits import LogitSource

CHUNK_BYTES = 128 * 2**20  # of one resampled chunk (K, n, y, x) in float32


def chunk_spans(classes: int, shape_zyx: tuple[int, int, int], chunk_bytes: int = CHUNK_BYTES) -> Iterator[tuple[int, int]]:
    """Spans of output slices whose logits take at most `chunk_bytes` (one slice at least)."""
    depth, height, width = shape_zyx
    count = max(1, chunk_bytes // max(1, classes * height * width * 4))
    for start in range(0, depth, count):
        yield start, min(depth, start + count)


def resampled_chunk(source: LogitSource, shape_zyx: tuple[int, int, int], start: int, stop: int) -> Tensor:
    """Logits (K, stop - start, y, x) of the output slices `start` to `stop`, float32."""
    depth, height, width = source.shape_zyx
    same_depth = depth == shape_zyx[0]
    slab = source.read(start, stop) if same_depth else _between_slices(source, depth / shape_zyx[0], start, stop)
    if (height, width) == shape_zyx[1:]:
        return slab
    flat = slab.reshape(-1, 1, height, width)
    resized: Tensor = functional.interpolate(flat, size=shape_zyx[1:], mode="bilinear", align_corners=False)
    return resized.reshape(source.classes, stop - start, *shape_zyx[1:])


def _between_slices(source: LogitSource, scale: float, start: int, stop: int) -> Tensor:
    """Linear interpolation along the first axis at (i + 0.5) * scale - 0.5."""
    place = np.clip((np.arange(start, stop) + 0.5) * scale - 0.5, 0, source.shape_zyx[0] - 1)
    lower = np.floor(place).astype(np.int64)
    upper = np.minimum(lower + 1, source.shape_zyx[0] - 1)
    slab = source.read(int(lower[0]), int(upper[-1]) + 1)
    weight = torch.from_numpy((place - lower).astype(np.float32))[:, None, None]
    return torch.lerp(slab[:, lower - lower[0]], slab[:, upper - lower[0]], weight)
