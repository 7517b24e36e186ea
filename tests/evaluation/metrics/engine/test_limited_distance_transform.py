"""The distance transform of limited reach against the full distance matrix."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from evaluation.metrics.engine import limited_distance_transform
from evaluation.metrics.engine.bitmask import Grid
from evaluation.metrics.engine.limited_distance_transform import SHORT, banded_distances


@pytest.mark.parametrize("chunk_voxels", [1, 1 << 17], ids=["plane by plane", "all planes at once"])
def test_distances_up_to_the_limit_are_exact_and_longer_ones_infinite(
    monkeypatch: pytest.MonkeyPatch, chunk_voxels: int
) -> None:
    monkeypatch.setattr(limited_distance_transform, "CHUNK_VOXELS", chunk_voxels)
    rng = np.random.default_rng(1)
    for _ in range(300):
        z, y, x = (int(rng.choice([1, 2, 7])), int(rng.choice([1, 5, 13])), int(rng.choice([1, 9, 66])))
        targets = rng.random((z, y, x)) < rng.choice([0.003, 0.05])
        targets.flat[rng.integers(targets.size)] = True
        points = np.argwhere(rng.random((z, y, x)) < 0.2)
        if not len(points):
            continue
        fine, coarse = float(rng.choice([0.5, 0.7, 1.0])), float(rng.choice([0.7, 1.0, 5.0]))
        spacing_mm = (coarse, fine, fine) if rng.random() < 0.5 else (fine, coarse, 1.0)
        limit_mm = float(rng.choice([0.4, 1.0, 3.3, 12.0, 40.0]))
        grid = Grid(shape=(z, y, x), margins=(1, 1))
        found = banded_distances(points, grid.pack(targets), grid, spacing_mm, limit_mm)
        expected = cdist(points * np.array(spacing_mm), np.argwhere(targets) * np.array(spacing_mm)).min(
            axis=1
        )
        expected[expected > limit_mm * (1 + 1e-6)] = np.inf
        assert found == pytest.approx(expected, rel=1e-6), (spacing_mm, limit_mm)


@pytest.mark.parametrize("limit", [SHORT, SHORT + 1, 260, 1000])
def test_long_limits_overflow_no_type(limit: int) -> None:
    targets = np.zeros((1, 300, 300), dtype=bool)
    targets[0, 140, 150] = True
    points = np.argwhere(~targets)
    grid = Grid(shape=targets.shape, margins=(1, 1))
    found = banded_distances(points, grid.pack(targets), grid, (1.0, 1.0, 1.0), float(limit))
    expected = np.hypot(points[:, 1] - 140, points[:, 2] - 150)
    assert found == pytest.approx(np.where(expected <= limit, expected, np.inf))
