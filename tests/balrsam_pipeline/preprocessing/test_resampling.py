"""Resampling against independent oracles: skimage's `resize`, scipy's `map_coordinates`, batchgenerators'
`resize_segmentation`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from batchgenerators.augmentations.utils import resize_segmentation
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.transform import resize

from balrsam_pipeline.preprocessing.label_resampling import resample_label
from balrsam_pipeline.preprocessing.resampling import (
    Shape,
    coarse_axis,
    plan_resampling,
    resample,
    resample_image,
    resampled_shape,
)

ISOTROPIC = (1.0, 1.0, 1.0)
COARSE = (5.0, 1.0, 1.0)


def volume(shape: Shape, seed: int = 0) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=shape)
    return gaussian_filter(noise, 0.7).astype(np.float32)


def blobs(shape: Shape, seed: int = 0) -> npt.NDArray[np.int16]:
    return np.digitize(
        gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2), [0.0, 0.05, 0.1]
    ).astype(np.int16)


def nnunet_separate_z(image: npt.NDArray[np.float32], shape: Shape) -> npt.NDArray[np.float64]:
    """Each slice with skimage, then nearest neighbour along z with scipy, as nnU-Net writes it."""
    planes = np.stack(
        [resize(plane.astype(float), shape[1:], 3, mode="edge", anti_aliasing=False) for plane in image]
    )
    grid = np.mgrid[: shape[0], : shape[1], : shape[2]].astype(float)
    grid[0] = len(image) / shape[0] * (grid[0] + 0.5) - 0.5
    found: npt.NDArray[np.float64] = map_coordinates(planes, grid, order=0, mode="nearest")
    return found


@settings(max_examples=25, deadline=None)
@given(
    st.tuples(*[st.integers(1, 24)] * 3),
    st.tuples(*[st.integers(1, 30)] * 3),
    st.sampled_from([1, 3]),
)
def test_a_volume_is_resampled_as_skimage_resizes_it(shape: Shape, target: Shape, order: int) -> None:
    image = volume(shape)
    expected = resize(image.astype(float), target, order, mode="edge", anti_aliasing=False)
    np.testing.assert_allclose(
        resample(image[None], target, ISOTROPIC, ISOTROPIC, order)[0], expected, atol=2e-5
    )


@pytest.mark.parametrize("target", [(6, 40, 23), (9, 40, 23), (4, 15, 20), (6, 20, 20)])
def test_slices_far_apart_are_resampled_one_by_one(target: Shape) -> None:
    image = volume((6, 20, 20))
    np.testing.assert_allclose(
        resample(image[None], target, COARSE, COARSE)[0], nnunet_separate_z(image, target), atol=2e-5
    )


@pytest.mark.parametrize("axis", [1, 2])
def test_the_coarse_axis_may_be_any(axis: int) -> None:
    image, target = volume((6, 20, 20)), (9, 15, 30)
    spacing = [1.0, 1.0, 1.0]
    spacing[0], spacing[axis] = 1.0, 5.0
    moved = np.moveaxis(image, 0, axis)
    shape = tuple(np.moveaxis(np.empty(target, dtype=bool), 0, axis).shape)
    found = resample(moved[None], shape, spacing, spacing)[0]
    np.testing.assert_allclose(np.moveaxis(found, axis, 0), nnunet_separate_z(image, target), atol=2e-5)


def test_large_volumes_come_out_the_same_slab_by_slab(monkeypatch: pytest.MonkeyPatch) -> None:
    image, target = volume((40, 30, 30)), (55, 41, 22)
    whole = resample(image[None], target, ISOTROPIC, ISOTROPIC)
    monkeypatch.setattr("balrsam_pipeline.preprocessing.resampling.SLAB_VOXELS", 1)
    np.testing.assert_allclose(resample(image[None], target, ISOTROPIC, ISOTROPIC), whole, atol=1e-6)


def test_a_volume_that_fits_is_unchanged() -> None:
    image = volume((4, 5, 6))
    np.testing.assert_array_equal(resample(image[None], (4, 5, 6), ISOTROPIC, ISOTROPIC)[0], image)


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(2, 24)] * 3), st.tuples(*[st.integers(2, 30)] * 3), st.integers(0, 5))
def test_labels_are_resampled_as_batchgenerators_does(shape: Shape, target: Shape, seed: int) -> None:
    label = blobs(shape, seed)
    found = resample_label(label, plan_resampling(shape, target, ISOTROPIC, ISOTROPIC, 1))
    masks = [
        resize((label == value).astype(float), target, 1, mode="edge", anti_aliasing=False)
        for value in np.unique(label)
    ]
    shares = np.sort(masks, axis=0)
    clear = (
        shares[-1] - (shares[-2] if len(shares) > 1 else 0) > 1e-4
    )  # float noise decides ties in the reference
    np.testing.assert_array_equal(found[clear], resize_segmentation(label, target, 1)[clear])


def test_a_tie_goes_to_the_nearest_label() -> None:
    label = np.array([[[0, 1, 1, 0, 2, 2, 2, 0]]], dtype=np.int16)
    found = resample_label(label, plan_resampling((1, 1, 8), (1, 1, 4), ISOTROPIC, ISOTROPIC, 1))
    np.testing.assert_array_equal(found, resize_segmentation(label, (1, 1, 4), 1))


def test_a_label_that_falls_between_sample_points_vanishes() -> None:
    label = np.zeros((1, 40, 40), dtype=np.int16)
    label[0, 20, 20], label[0, 1:9, 1:9] = 2, 1
    found = resample_label(label, plan_resampling((1, 40, 40), (1, 5, 5), ISOTROPIC, ISOTROPIC, 1))
    np.testing.assert_array_equal(found, resize_segmentation(label, (1, 5, 5), 1))


def test_labels_of_slices_far_apart_are_resampled_one_by_one() -> None:
    label, target = blobs((6, 30, 30)), (9, 45, 20)
    planes = np.stack([resize_segmentation(plane, target[1:], 1) for plane in label])
    nearest = np.clip(np.floor((np.arange(9) + 0.5) * 6 / 9), 0, 5).astype(int)
    found = resample_label(label, plan_resampling(label.shape, target, COARSE, COARSE, 1))
    assert (found != planes[nearest]).mean() <= 1e-3


def test_shape_keeps_the_extent() -> None:
    assert resampled_shape((10, 100, 100), (5.0, 1.0, 1.0), (2.5, 2.0, 0.5)) == (20, 50, 200)
    assert resampled_shape((1, 3, 3), (1.0, 1.0, 1.0), (9.0, 1.0, 1.0)) == (1, 3, 3)


@pytest.mark.parametrize(
    ("image", "target", "expected"),
    [
        ((5.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0),
        ((1.0, 1.0, 1.0), (1.0, 4.0, 1.0), 1),
        ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),
        ((0.2, 1.0, 1.0), (1.0, 1.0, 1.0), None),
    ],
)
def test_an_axis_more_than_three_times_as_coarse_stands_apart(
    image: tuple[float, float, float], target: tuple[float, float, float], expected: int | None
) -> None:
    assert coarse_axis(image, target) == expected


def test_antialiased_shrinking_by_a_whole_factor_is_the_mean_of_blocks() -> None:
    image = np.random.default_rng(0).normal(size=(1, 1, 12, 20)).astype(np.float32)
    blocks = image.reshape(1, 1, 3, 4, 5, 4).mean(axis=(3, 5))
    flat = (999.0, 1.0, 1.0)
    plan = plan_resampling((1, 12, 20), (1, 3, 5), flat, (999.0, 4.0, 4.0), 3, antialias=True)
    out = np.empty((1, 3, 5), dtype=np.float32)
    resample_image(image[0], plan, lambda slab, _: slab.astype(np.float32), out)
    np.testing.assert_allclose(out, blocks[0], atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(10, 7), (101, 16), (800, 224), (5, 1)])
def test_antialiased_shrinking_is_the_integral_over_what_a_voxel_covers(before: int, after: int) -> None:
    plan = plan_resampling((1, 1, before), (1, 1, after), ISOTROPIC, ISOTROPIC, 3, antialias=True)
    row = np.random.default_rng(2).normal(size=before).astype(np.float32)
    out = np.empty((1, 1, after), dtype=np.float32)
    resample_image(row[None, None], plan, lambda slab, _: slab.astype(np.float32), out)
    integral = np.concatenate([[0], np.cumsum(row, dtype=np.float64)])
    edges = np.interp(np.linspace(0, before, after + 1), np.arange(before + 1), integral)
    np.testing.assert_allclose(out[0, 0], np.diff(edges) * after / before, atol=1e-5)


def test_a_shrunk_label_goes_to_the_majority() -> None:
    label = np.zeros((1, 8, 8), dtype=np.int16)
    label[0, :4, :4] = 1
    label[0, 4:, 4:][np.random.default_rng(1).permutation(16).reshape(4, 4) < 9] = 2
    plan = plan_resampling((1, 8, 8), (1, 2, 2), ISOTROPIC, ISOTROPIC, 1, antialias=True)
    assert resample_label(label, plan).tolist() == [[[1, 0], [0, 2]]]
