"""Border distances against brute force, and what geometry demands of them."""

from __future__ import annotations

import importlib
import itertools
import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import cdist

from evaluation.metrics.engine.bitmask import border, count
from evaluation.metrics.engine.nearest import grid_for, nearest
from evaluation.metrics.surface_distance import surface_metrics

nearest_module = importlib.import_module(
    "evaluation.metrics.engine.nearest"
)  # the package has a function so called

Mask = npt.NDArray[np.bool_]
SPACINGS = (0.5, 0.7, 1.0, 2.5, 5.0)
KEYS = ("hd95", "hd95_pooled", "hd", "assd")


def slow_border(mask: Mask) -> npt.NDArray[np.int64]:
    """Indices of voxels with a face neighbour outside the mask or outside the image."""
    points = []
    for index in map(tuple, np.argwhere(mask)):
        for axis, step in itertools.product(
            [axis for axis in range(mask.ndim) if mask.shape[axis] > 1], (-1, 1)
        ):
            neighbour = list(index)
            neighbour[axis] += step
            if not 0 <= neighbour[axis] < mask.shape[axis] or not mask[tuple(neighbour)]:
                points.append(index)
                break
    return np.array(points, dtype=np.int64).reshape(-1, mask.ndim)


def slow_percentile(values: npt.NDArray[np.float64], share: float) -> float:
    """Linear interpolation between the two nearest ranks, as the textbook has it."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return float(ordered[low] + (ordered[high] - ordered[low]) * (place - low))


def slow_metrics(prediction: Mask, reference: Mask, spacing_mm: tuple[float, ...]) -> dict[str, float]:
    """The definitions, from the full matrix of distances."""
    between = cdist(
        slow_border(prediction) * np.array(spacing_mm), slow_border(reference) * np.array(spacing_mm)
    )
    forward, backward = between.min(axis=1), between.min(axis=0)
    both = np.concatenate([forward, backward])
    return {
        "hd95": max(slow_percentile(forward, 0.95), slow_percentile(backward, 0.95)),
        "hd95_pooled": slow_percentile(both, 0.95),
        "hd": both.max(),
        "assd": both.sum() / both.size,
    }


def random_pair(rng: np.random.Generator) -> tuple[Mask, Mask, tuple[float, float, float]]:
    """Two masks of one random shape and density, neither empty."""
    shape = (1, *rng.integers(2, 12, 2)) if rng.random() < 0.3 else tuple(rng.integers(2, 9, 3))
    masks = [rng.random(shape) < rng.random() * 0.9 for _ in range(2)]
    for mask in masks:
        mask.flat[rng.integers(mask.size)] = True
    z, y, x = rng.choice(SPACINGS, 3)
    return masks[0], masks[1], (float(z), float(y), float(x))


def flat_axes(mask: Mask) -> tuple[int, ...]:
    return tuple(axis for axis, length in enumerate(mask.shape) if length == 1)


def unpacked_border(mask: Mask) -> npt.NDArray[np.int64]:
    """Indices of border voxels, found in words of bits."""
    grid = grid_for(mask.shape, (1.0, 1.0, 1.0), flat_axes(mask))
    words = border(grid.pack(mask), grid, flat_axes(mask))
    index = np.flatnonzero(words)
    return grid.points(index, words[index])


@pytest.mark.parametrize(
    ("reach", "costs"),
    [
        (8, {}),
        (2, {}),
        (0, {"COMPARE_S": 0.0}),
        (0, {"COMPARE_S": 0.0, "CHUNK": 5}),
        (0, {"COMPARE_S": 1e9, "BAND_VOXEL_S": 1e9}),
        (0, {"COMPARE_S": 1e9, "TREE_QUERY_S": 1e8, "TREE_FAR_S": 1e8}),
    ],
    ids=[
        "offsets first",
        "few offsets",
        "full comparison alone",
        "full comparison in parts",
        "KD-tree alone",
        "banded transform first",
    ],
)
def test_every_way_to_find_distances_agrees_with_the_full_distance_matrix(
    monkeypatch: pytest.MonkeyPatch, reach: int, costs: dict[str, float]
) -> None:
    for name, value in {"REACH": reach, **costs}.items():
        monkeypatch.setattr(nearest_module, name, value)
    nearest_module._shells.cache_clear()
    rng = np.random.default_rng(7)
    for _ in range(400):
        prediction, reference, spacing_mm = random_pair(rng)
        expected = slow_metrics(prediction, reference, spacing_mm)
        found = surface_metrics(prediction, reference, spacing_mm, flat_axes(prediction))
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), (prediction, reference, spacing_mm)
    nearest_module._shells.cache_clear()


def test_rows_of_several_words_and_sparse_masks_agree_with_the_full_distance_matrix() -> None:
    rng = np.random.default_rng(11)
    for _ in range(80):
        shape = (
            int(rng.choice([1, 2, 9])),
            int(rng.choice([1, 3, 12])),
            int(rng.choice([55, 56, 57, 63, 64, 65, 120, 121, 190])),
        )
        prediction, reference = (rng.random(shape) < rng.choice([0.002, 0.02, 0.5, 0.97]) for _ in range(2))
        prediction.flat[rng.integers(prediction.size)] = reference.flat[rng.integers(reference.size)] = True
        spacing_mm = tuple(map(float, rng.choice(SPACINGS, 3)))
        expected = slow_metrics(prediction, reference, spacing_mm)
        found = surface_metrics(prediction, reference, spacing_mm, flat_axes(prediction))
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-6), (shape, spacing_mm)


def test_the_border_in_words_is_the_border_voxel_by_voxel_in_any_cut_out() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        mask, _, _ = random_pair(rng)
        box = tuple(slice(int(places.min()), int(places.max()) + 1) for places in np.nonzero(mask))
        assert np.array_equal(unpacked_border(mask), slow_border(mask))
        if not set(flat_axes(mask[box])) - set(flat_axes(mask)):
            lows = np.array([side.start for side in box])
            assert np.array_equal(unpacked_border(mask[box]) + lows, slow_border(mask))


def test_hd95_of_two_parallel_planes_is_their_distance() -> None:
    first, second = np.zeros((12, 9, 9), dtype=bool), np.zeros((12, 9, 9), dtype=bool)
    first[1], second[10] = True, True
    found = surface_metrics(first, second, (2.5, 0.7, 0.7))
    assert found == pytest.approx({"hd95": 22.5, "hd95_pooled": 22.5, "hd": 22.5, "assd": 22.5})


def test_identical_masks_are_at_distance_zero() -> None:
    mask = np.random.default_rng(1).random((6, 7, 8)) < 0.4
    assert surface_metrics(mask, mask, (3.0, 1.0, 1.0)) == dict.fromkeys(KEYS, 0.0)


def test_many_border_voxels_deep_inside_a_block_are_found_in_reasonable_time() -> None:
    """A KD-tree alone would take minutes: from deep inside, a flat border is about as near in thousands of
    places."""
    reference = np.ones((60, 256, 256), dtype=bool)
    prediction = reference.copy()
    rng = np.random.default_rng(0)
    prediction[tuple(rng.integers(0, length, 20000) for length in reference.shape)] = False
    started = time.process_time()
    found = surface_metrics(prediction, reference, (4.0, 0.8, 0.8))
    assert time.process_time() - started < 10
    edge = np.minimum.reduce(
        np.meshgrid(
            *[
                np.minimum(np.arange(n), n - 1 - np.arange(n)) * mm
                for n, mm in zip(reference.shape, (4.0, 0.8, 0.8), strict=True)
            ],
            indexing="ij",
        )
    )
    grid = grid_for(prediction.shape, (4.0, 0.8, 0.8))
    words = border(grid.pack(prediction), grid)
    index = np.flatnonzero(words)
    depths = edge[tuple(grid.points(index, words[index]).T)]
    assert found["hd"] == pytest.approx(depths.max()) and found["hd95"] == pytest.approx(
        np.percentile(depths, 95)
    )


def test_a_far_blob_is_found_though_no_offset_reaches_it() -> None:
    near, far = np.zeros((60, 60, 60), dtype=bool), np.zeros((60, 60, 60), dtype=bool)
    near[2, 2, 2], far[52, 42, 2] = True, True
    assert surface_metrics(near, far, (1.0, 1.0, 1.0))["hd"] == pytest.approx(np.hypot(50, 40))


def test_a_limit_ends_the_search_but_loses_no_distance_below_it() -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        prediction, reference, spacing_mm = random_pair(rng)
        grid = grid_for(prediction.shape, spacing_mm, flat_axes(prediction))
        matches = nearest(grid.pack(prediction), grid.pack(reference), grid, spacing_mm, 2.5)
        found = np.concatenate([np.broadcast_to(match.distances_mm, count(match.bits)) for match in matches])
        expected = cdist(
            np.argwhere(prediction) * np.array(spacing_mm), np.argwhere(reference) * np.array(spacing_mm)
        ).min(axis=1)
        assert np.sort(found[found <= 2.5]) == pytest.approx(np.sort(expected[expected <= 2.5]))


masks_zyx = arrays(np.bool_, st.tuples(st.integers(2, 6), st.integers(2, 6), st.integers(2, 6)))
pairs_zyx = masks_zyx.flatmap(lambda mask: st.tuples(st.just(mask), arrays(np.bool_, mask.shape)))
spacings = st.tuples(*[st.sampled_from(SPACINGS)] * 3)


@settings(max_examples=150, deadline=None)
@given(
    pair=pairs_zyx,
    spacing_mm=spacings,
    scale=st.sampled_from((0.1, 2.0, 7.0)),
    axes=st.permutations(range(3)),
    margin=st.integers(1, 3),
)
def test_distances_obey_geometry(
    pair: tuple[Mask, Mask],
    spacing_mm: tuple[float, float, float],
    scale: float,
    axes: list[int],
    margin: int,
) -> None:
    prediction, reference = pair
    assume(prediction.any() and reference.any())
    found = pytest.approx(surface_metrics(prediction, reference, spacing_mm), rel=1e-5, abs=1e-6)

    assert surface_metrics(reference, prediction, spacing_mm) == found, "symmetry"
    z, y, x = spacing_mm
    scaled = surface_metrics(prediction, reference, (z * scale, y * scale, x * scale))
    assert {key: value / scale for key, value in scaled.items()} == found, "homogeneity in spacing"
    first, second, third = (spacing_mm[axis] for axis in axes)
    assert (
        surface_metrics(prediction.transpose(axes), reference.transpose(axes), (first, second, third))
        == found
    ), "permuted axes"
    assert surface_metrics(np.pad(prediction, margin), np.pad(reference, margin), spacing_mm) == found, (
        "padding"
    )
    moved = [np.pad(mask, [(margin, 0), (0, margin), (margin, 1)]) for mask in pair]
    assert surface_metrics(moved[0], moved[1], spacing_mm) == found, "translation"
    flipped = [mask[::-1, :, ::-1] for mask in pair]
    assert surface_metrics(flipped[0], flipped[1], spacing_mm) == found, "flips"


@settings(max_examples=60, deadline=None)
@given(pair=pairs_zyx, spacing_mm=spacings)
def test_the_metrics_are_ordered_as_their_definitions_demand(
    pair: tuple[Mask, Mask], spacing_mm: tuple[float, float, float]
) -> None:
    assume(pair[0].any() and pair[1].any())
    found = surface_metrics(*pair, spacing_mm)
    assert 0 <= found["assd"] <= found["hd"] * (1 + 1e-9) and found["hd95"] <= found["hd"] * (1 + 1e-9)
