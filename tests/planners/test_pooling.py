"""Pooled percentiles against NumPy's, of the samples written out in full."""

from __future__ import annotations

import numpy as np
import pytest

from planners.pooling import QUANTILES, kept_values, pooled_percentiles

PERCENTS = (0.0, 0.5, 33.3, 50.0, 99.5, 100.0)


def written_out(ordered: np.ndarray) -> np.ndarray:
    """The ranks of a case, one value each, as older versions kept them."""
    ranks = ((np.arange(QUANTILES) + 0.5) / QUANTILES * len(ordered)).astype(np.intp)
    return ordered[ranks].astype(np.float32)


@pytest.mark.parametrize("kind", ["normal", "whole numbers", "all alike", "tiny and huge"])
def test_pooled_percentiles_are_those_of_all_ranks_together(kind: str) -> None:
    generator = np.random.default_rng(0)
    draw = {
        "normal": lambda size: generator.normal(-3, 100, size),
        "whole numbers": lambda size: generator.integers(-1000, 1000, size).astype(np.int16),
        "all alike": lambda size: np.full(size, -7.5),
        "tiny and huge": lambda size: generator.normal(size=size) * 10.0 ** generator.integers(-30, 30, size),
    }[kind]
    samples = [np.sort(draw(size)) for size in (1, 2, 17, 4095, 4096, 4097, 20_000)]
    expected = np.percentile(np.concatenate([written_out(sample) for sample in samples]), PERCENTS)
    kept = [kept_values(sample) for sample in samples]
    assert max(map(len, kept)) == QUANTILES
    assert pooled_percentiles(kept, PERCENTS) == expected.tolist()
