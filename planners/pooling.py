"""Percentiles over the samples of many cases, exact, without holding them expanded, sorted or all at once.

A case counts as `QUANTILES` values at evenly spaced ranks of its foreground, however many voxels it has; one
of fewer voxels is kept as those voxels, each of which stands for several ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

QUANTILES = 4096  # order statistics kept of a case: percentiles 0.5 and 99.5 lie on the 20th from either end
_SIGN, _HALF, _AT_ONCE = np.uint32(2**31), 2**16, 2**20


def kept_values(ordered: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """What is kept of sorted foreground values, float32 and sorted: all of them, or those at `QUANTILES`
    ranks."""
    if len(ordered) <= QUANTILES:
        return ordered.astype(np.float32)
    return np.asarray(ordered[_ranks(len(ordered))], dtype=np.float32)


def pooled_percentiles(samples: Sequence[npt.NDArray[np.float32]], percents: Sequence[float]) -> list[float]:
    """NumPy's linear percentiles of all samples together, each counting as `QUANTILES` values.

    Selected by the upper and then the lower half of the bits of a value (radix selection), so that memory
    does not grow with the number of cases.
    """
    last = len(samples) * QUANTILES - 1
    places = [percent / 100 * last for percent in percents]
    ranks = sorted({rank for place in places for rank in (int(place), min(int(place) + 1, last))})
    value_at = dict(zip(ranks, _select(samples, ranks), strict=True))
    found = []
    for place in places:
        low, high = value_at[int(place)], value_at[min(int(place) + 1, last)]
        step, share = np.float64(high - low), place - int(place)  # as numpy.percentile of float32 does it
        found.append(float(low + step * share if share < 0.5 else high - step * (1 - share)))
    return found


def _ranks(count: int) -> npt.NDArray[np.intp]:
    """Which of `count` sorted values stand for the case."""
    return ((np.arange(QUANTILES) + 0.5) / QUANTILES * count).astype(np.intp)


@lru_cache(maxsize=QUANTILES)
def _weights(count: int) -> npt.NDArray[np.float64]:
    """How many ranks each of `count` kept values stands for."""
    return np.bincount(_ranks(count), minlength=count).astype(np.float64)


def _select(samples: Sequence[npt.NDArray[np.float32]], ranks: Sequence[int]) -> list[np.float32]:
    """The values at ascending `ranks` of all samples in order."""
    upper = np.zeros(_HALF)
    for keys, weights in _keyed(samples):
        upper += np.bincount(keys >> np.uint32(16), weights, _HALF)
    ends = np.cumsum(upper)
    buckets = np.searchsorted(ends, ranks, side="right")
    lower = {int(bucket): np.zeros(_HALF) for bucket in buckets}
    for keys, weights in _keyed(samples):
        high = keys >> np.uint32(16)
        for bucket, counts in lower.items():
            inside = high == bucket
            counts += np.bincount(keys[inside] & np.uint32(_HALF - 1), weights[inside], _HALF)
    found = []
    for rank, bucket in zip(ranks, buckets, strict=True):
        before = ends[bucket] - upper[bucket]
        low = int(np.searchsorted(np.cumsum(lower[int(bucket)]), rank - before, side="right"))
        found.append(_value_of((int(bucket) << 16) | low))
    return found


def _keyed(
    samples: Sequence[npt.NDArray[np.float32]],
) -> Iterator[tuple[npt.NDArray[np.uint32], npt.NDArray[np.float64]]]:
    """Samples as whole numbers in the same order, and their weights, about a million at a time."""
    waiting: list[npt.NDArray[np.float32]] = []
    size = 0
    for number, sample in enumerate(samples, 1):
        waiting.append(sample)
        size += len(sample)
        if size >= _AT_ONCE or number == len(samples):
            bits = np.concatenate(waiting).view(np.uint32)
            yield (
                np.where(bits & _SIGN, ~bits, bits | _SIGN),
                np.concatenate([_weights(len(each)) for each in waiting]),
            )
            waiting, size = [], 0


def _value_of(key: int) -> np.float32:
    bits = np.uint32(key)
    return np.float32(np.array(bits ^ _SIGN if bits & _SIGN else ~bits, np.uint32).view(np.float32).item())
