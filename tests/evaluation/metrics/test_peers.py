"""Agreement with MONAI and DeepMind's surface-distance, where they are installed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from evaluation.metrics.normalized_surface_dice import element_areas, neighbourhood_codes, surface_dice
from evaluation.metrics.surface_distance import surface_metrics

Mask = npt.NDArray[np.bool_]
SPACINGS = ((1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.5, 1.5, 2.0))


def blobs(seed: int, shape: tuple[int, int, int]) -> Mask:
    """Smooth random shapes with rough edges, some of them cut off by the image edge."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(shape), 3)
    return np.asarray(field + 0.1 * field.std() * rng.standard_normal(shape) > 0.8 * field.std())


def pairs() -> Iterator[tuple[Mask, Mask, tuple[float, float, float]]]:
    for seed in range(12):
        shape = (18 + seed, 40 - seed, 30)
        first = blobs(seed, shape)
        second = np.roll(first, seed % 4, axis=1) ^ (np.random.default_rng(seed).random(shape) < 0.002)
        yield first, second, SPACINGS[seed % 3]


def test_hd95_is_monais() -> None:
    monai = pytest.importorskip("monai.metrics", reason="MONAI is not installed")
    torch = pytest.importorskip("torch")
    for first, second, spacing_mm in pairs():
        batch = [torch.from_numpy(mask)[None, None].float() for mask in (first, second)]
        theirs = monai.compute_hausdorff_distance(
            *batch, include_background=True, percentile=95, spacing=spacing_mm
        ).item()
        assert surface_metrics(first, second, spacing_mm)["hd95"] == pytest.approx(theirs, abs=1e-4)


def test_nsd_is_that_of_surface_distance() -> None:
    peer = pytest.importorskip("surface_distance", reason="surface-distance is not installed")
    for first, second, spacing_mm in pairs():
        theirs = peer.compute_surface_distances(second, first, spacing_mm=spacing_mm)
        for tolerance_mm in (0.5, 1.0, 2.0, 5.0):
            expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
            assert surface_dice(first, second, spacing_mm, (tolerance_mm,))[0] == pytest.approx(
                expected, abs=1e-3
            )
        ours = element_areas(spacing_mm)[neighbourhood_codes(first)].sum()
        assert ours == pytest.approx(theirs["surfel_areas_pred"].sum(), rel=1e-6)
