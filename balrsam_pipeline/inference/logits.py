"""Logits of one case on the preprocessed grid, read slab by slab: from an array, or computed when they are
asked for.

Suffix `logits_kzyx`: one channel per class or region, axes transposed so that slices come first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class LogitSource(Protocol):
    """What the export reads from; slabs are asked for in ascending order."""

    @property
    def classes(self) -> int:
        """Number of logit channels K."""

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of the preprocessed volume."""

    def read(self, start: int, stop: int) -> Tensor:
        """Logits (K, stop - start, y, x), float32, wherever they are; `start` is never below that of the call
        before."""


class ArrayLogits:
    """All logits of a case, held in memory (or in a memory-mapped file)."""

    def __init__(self, logits_kzyx: Tensor) -> None:
        """Hold `logits_kzyx` (K, z, y, x), any floating dtype."""
        self._logits_kzyx = logits_kzyx

    @property
    def classes(self) -> int:
        """Number of logit channels K."""
        return self._logits_kzyx.shape[0]

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of the preprocessed volume."""
        depth, height, width = self._logits_kzyx.shape[1:]
        return depth, height, width

    def read(self, start: int, stop: int) -> Tensor:
        """Logits (K, stop - start, y, x), float32, where they are held."""
        return self._logits_kzyx[:, start:stop].float()

    def transposed(self, order: tuple[int, ...]) -> ArrayLogits:
        """The same logits with the volume's axes in another order, as `numpy.transpose` takes it."""
        return ArrayLogits(self._logits_kzyx.permute(0, *(1 + axis for axis in order)))


class LazyLogits:
    """Logits computed a slab at a time, when the export reaches them; only the slabs in use are held."""

    def __init__(
        self, compute: Callable[[int, int], Tensor], classes: int, shape_zyx: tuple[int, int, int], slab: int
    ) -> None:
        """Prepare to compute.

        Args:
            compute: slices (start, stop) -> logits (K, stop - start, y, x), float32.
            classes: K.
            shape_zyx: shape of the preprocessed volume.
            slab: slices computed at once.
        """
        self._compute = compute
        self._classes, self._shape_zyx, self._slab = classes, shape_zyx, max(1, slab)
        self._held: Tensor | None = None
        self._first = 0

    @property
    def classes(self) -> int:
        """Number of logit channels K."""
        return self._classes

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of the preprocessed volume."""
        return self._shape_zyx

    def read(self, start: int, stop: int) -> Tensor:
        """Logits (K, stop - start, y, x), float32; slabs that end before `start` are forgotten.

        Raises:
            ValueError: `start` lies before what is still held: slabs must be read in ascending order.
        """
        if start < self._first:
            raise ValueError(f"slices from {start} are forgotten; those from {self._first} on are held")
        held = self._held
        computed = self._first + (held.shape[1] if held is not None else 0)
        parts = [held[:, start - self._first :]] if held is not None and start < computed else []
        begin = computed if parts else start
        while begin < stop:
            end = min(begin + self._slab, self._shape_zyx[0])
            parts.append(self._compute(begin, end))
            begin = end
        device = parts[-1].device  # a GPU may have no room any more for what it had room for before
        self._held = parts[0] if len(parts) == 1 else torch.cat([part.to(device) for part in parts], dim=1)
        self._first = start
        return self._held[:, : stop - start]
