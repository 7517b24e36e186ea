from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from trainers.augmentation.geometry import (
    Geometry2d,
    cut_patch,
    cut_surroundings,
    draw_bend,
    draw_geometry,
    draw_shift,
    resample,
)
from trainers.augmentation_config import AugmentationConfig


def slice_of(height, width, channels=2):
    rng = np.random.default_rng(height * 100 + width)
    image = ndimage.gaussian_filter(rng.normal(size=(channels, height, width)), (0, 1.5, 1.5)).astype(
        np.float32
    )
    return image, (image[0] > 0).astype(np.int16) * 2


@given(st.integers(3, 20), st.integers(3, 20), st.integers(-6, 8), st.integers(-6, 8))
def test_without_transform_a_patch_is_a_zero_padded_crop(height, width, top, left):
    image, label = slice_of(height, width)
    patch, patch_label = cut_patch(image, label, (top, left), (8, 6), Geometry2d())
    padded = np.pad(image, ((0, 0), (30, 30), (30, 30)))
    np.testing.assert_array_equal(patch, padded[:, 30 + top : 38 + top, 30 + left : 36 + left])
    padded_label = np.pad(label, 30)
    np.testing.assert_array_equal(patch_label, padded_label[30 + top : 38 + top, 30 + left : 36 + left])


def test_a_quarter_turn_of_a_centred_square_patch_is_a_rotated_copy():
    image, label = slice_of(9, 9)
    patch, patch_label = cut_patch(image, label, (0, 0), (9, 9), Geometry2d(angle=math.pi / 2))
    turned = [np.rot90(image, turns, axes=(1, 2)) for turns in (1, 3)]
    errors = [np.abs(patch[:, 1:-1, 1:-1] - candidate[:, 1:-1, 1:-1]).max() for candidate in turned]
    assert min(errors) < 1e-5
    which = turned[int(np.argmin(errors))]
    np.testing.assert_array_equal(patch_label[1:-1, 1:-1], (which[0, 1:-1, 1:-1] > 0) * 2)


def test_scale_two_shows_half_the_extent():
    label = np.zeros((40, 40), np.int16)
    label[15:25, 15:25] = 3
    image = label[None].astype(np.float32)
    _, larger = cut_patch(image, label, (0, 0), (40, 40), Geometry2d(scale=2.0))
    assert abs((larger == 3).sum() / (label == 3).sum() - 4) < 0.4
    assert set(np.unique(larger)) == {0, 3}


@pytest.mark.parametrize("mirror", [(False, True, False), (False, False, True), (False, True, True)])
def test_mirroring_flips_image_and_label_alike(mirror):
    image, label = slice_of(8, 6)
    plain, plain_label = cut_patch(image, label, (0, 0), (8, 6), Geometry2d())
    patch, patch_label = cut_patch(image, label, (0, 0), (8, 6), Geometry2d(mirror=mirror))
    axes = [axis for axis, flipped in zip((1, 2), mirror[1:], strict=True) if flipped]
    np.testing.assert_array_equal(patch, np.flip(plain, axes))
    np.testing.assert_array_equal(patch_label, np.flip(plain_label, [axis - 1 for axis in axes]))


@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    angle=st.floats(-3.2, 3.2),
    scale=st.floats(0.5, 2.0),
)
def test_resampling_is_scipys_within_the_image_and_nothing_outside(seed, shape, angle, scale):
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(2, *shape)).astype(np.float32)
    label = rng.integers(0, 3, shape).astype(np.int16)
    matrix = np.eye(len(shape))
    matrix[-2:, -2:] = Geometry2d(angle=angle, scale=scale).matrix_yx
    offset, size = rng.uniform(-3, 5, len(shape)), (7, 6, 5)[: len(shape)]
    moved, labels = resample(image, label, matrix, offset, size)
    places = np.tensordot(matrix, np.indices(size), 1) + offset.reshape(-1, *[1] * len(shape))
    longest = np.array(shape).reshape(-1, *[1] * len(shape))
    within = ((places > 1e-3) & (places < longest - 1 - 1e-3)).all(axis=0)
    outside = ((places < -2e-3) | (places > longest - 1 + 2e-3)).any(axis=0)
    for channel, plane in enumerate(image):
        expected = ndimage.map_coordinates(plane, places, order=1, mode="nearest")
        np.testing.assert_allclose(moved[channel][within], expected[within], atol=1e-4)
    shares = np.stack(
        [ndimage.map_coordinates((label == value) * 1.0, places, order=1) for value in range(3)]
    )
    clear = np.diff(np.sort(shares, axis=0), axis=0)[-1] > 1e-3
    np.testing.assert_array_equal(labels[within & clear], shares.argmax(axis=0)[within & clear])
    assert not moved[:, outside].any() and not labels[outside].any()


def test_many_labels_fall_back_to_the_nearest_one():
    label = np.arange(100, dtype=np.int16).reshape(10, 10)
    _, turned = cut_patch(label[None].astype(np.float32), label, (0, 0), (10, 10), Geometry2d(angle=0.3))
    assert set(np.unique(turned)) <= set(range(100))


def test_transforms_are_drawn_with_nnunets_probabilities():
    config = AugmentationConfig()
    rng = np.random.default_rng(0)
    drawn = [draw_geometry(rng, config, (40, 40), (True, True, True)) for _ in range(4000)]
    assert abs(np.mean([geometry.angle != 0 for geometry in drawn]) - 0.2) < 0.03
    assert abs(np.mean([geometry.scale != 1 for geometry in drawn]) - 0.2) < 0.03
    scales = [geometry.scale for geometry in drawn if geometry.scale != 1]
    assert 0.7 <= min(scales) < 0.75 and 1.3 < max(scales) <= 1.4
    assert abs(np.mean(np.array(scales) < 1) - 0.5) < 0.06
    wide = [draw_geometry(rng, config, (60, 30), (True, True, True)).angle for _ in range(2000)]
    assert max(map(abs, wide)) <= math.radians(15)


@given(
    seed=st.integers(0, 2**32 - 1),
    patch_yx=st.tuples(st.integers(16, 300), st.integers(16, 300)),
    room_yx=st.tuples(st.integers(-200, 400), st.integers(-200, 400)),
)
def test_only_patches_without_another_place_are_shifted_by_a_tenth_at_most(seed, patch_yx, room_yx):
    shift_yx = draw_shift(np.random.default_rng(seed), AugmentationConfig(), patch_yx, room_yx)
    for shift, side, room in zip(shift_yx, patch_yx, room_yx, strict=True):
        assert abs(shift) <= round(0.1 * side)
        assert shift == 0 or room < 0.1 * side


def test_half_of_the_samples_are_shifted_and_none_without_augmentation():
    rng = np.random.default_rng(0)
    drawn = [draw_shift(rng, AugmentationConfig(), (200, 200), (0, 0)) for _ in range(2000)]
    assert abs(np.mean([shift != (0, 0) for shift in drawn]) - 0.5) < 0.05
    assert min(map(min, drawn)) == -20 and max(map(max, drawn)) == 20
    off = AugmentationConfig(enabled=False)
    assert {draw_shift(rng, off, (200, 200), (0, 0)) for _ in range(50)} == {(0, 0)}


def test_a_shifted_patch_is_cut_further_on():
    image = np.arange(144, dtype=np.float32).reshape(1, 12, 12)
    label = np.arange(144, dtype=np.int16).reshape(12, 12)
    patch, patch_label = cut_patch(image, label, (0, 0), (12, 12), Geometry2d(shift_yx=(2, -3)))
    np.testing.assert_array_equal(patch[0, :-2, 3:], image[0, 2:, :-3])
    np.testing.assert_array_equal(patch_label[:-2, 3:], label[2:, :-3])
    assert not patch[0, -2:].any() and not patch[0, :, :3].any()


def test_points_that_are_all_moved_alike_shift_the_patch():
    image, label = slice_of(40, 32)
    moved = Geometry2d(bend=(2 / 20,) * 16 + (3 / 24,) * 16)  # x by two voxels, y by three
    patch, patch_label = cut_patch(image, label, (4, 3), (24, 20), moved)
    np.testing.assert_allclose(patch, image[:, 7:31, 5:25], atol=1e-5)
    np.testing.assert_array_equal(patch_label, label[7:31, 5:25])


def test_a_bend_moves_points_by_its_shares_of_the_patch_wherever_the_patch_lies():
    height, width = 31, 46
    rows, columns = np.indices((60, 80)).astype(np.float32)
    bend = draw_bend(np.random.default_rng(3), AugmentationConfig(elastic_probability=1.0))
    points = math.isqrt(len(bend) // 2)
    places, _ = cut_patch(
        np.stack([columns, rows]),
        np.zeros((60, 80), np.int16),
        (14, 17),
        (height, width),
        Geometry2d(bend=bend),
    )
    ys, xs = (np.linspace(0, side - 1, points) for side in (height, width))
    for axis, (side, start) in enumerate(((width, 17 + xs[None, :]), (height, 14 + ys[:, None]))):
        wanted = start + np.reshape(bend, (2, points, points))[axis] * side
        corners = np.ix_([0, -1], [0, -1])  # which lie on voxels
        np.testing.assert_allclose(places[axis][corners], wanted[corners], atol=1e-3)


def test_bends_are_drawn_as_often_and_as_far_as_settings_say():
    config = AugmentationConfig(elastic_probability=0.5, elastic_strength=(0.06, 0.06))
    rng = np.random.default_rng(0)
    drawn = [bend for bend in (draw_bend(rng, config) for _ in range(2000)) if bend]
    assert abs(len(drawn) / 2000 - 0.5) < 0.05
    assert {math.isqrt(len(bend) // 2) for bend in drawn} == {4, 5, 6, 7}
    for points in (4, 7):
        moved = np.concatenate([bend for bend in drawn if len(bend) == 2 * points**2])
        assert np.std(moved) == pytest.approx(0.06 / (points - 3), rel=0.05)
    assert draw_bend(rng, AugmentationConfig(elastic_probability=1.0, enabled=False)) == ()


def shrunk_slice(image, times):
    """Means of cells, zeros below and right of the slice: by NumPy."""
    height, width = (-(-side // times) * times for side in image.shape[1:])
    padded = np.zeros((len(image), height, width), np.float32)
    padded[:, : image.shape[1], : image.shape[2]] = image
    return padded.reshape(len(image), height // times, times, width // times, times).mean(axis=(2, 4))


@pytest.mark.parametrize("times", [2, 4, 8])
@pytest.mark.parametrize("corner", [(0, 0), (16, 32), (88, 80), (-8, 40), (300, 300)])
def test_surroundings_are_the_shrunk_slice_about_the_patch(times, corner):
    image, _ = slice_of(120, 100)
    cells = np.pad(shrunk_slice(image, times), ((0, 0), (100, 100), (100, 100)))
    first = [
        math.floor((at + size / 2) / times - size / 2 + 0.5)
        for at, size in zip(corner, (32, 16), strict=True)
    ]
    top, left = (min(100 + at, 200) for at in first)
    wide = cut_surroundings(image, corner, (32, 16), Geometry2d(), times)
    expected = cells[:, top : top + 32, left : left + 16]
    np.testing.assert_allclose(wide[:, : expected.shape[1], : expected.shape[2]], expected, atol=1e-6)
    mirrored = cut_surroundings(image, corner, (32, 16), Geometry2d(mirror=(False, True, True)), times)
    np.testing.assert_array_equal(mirrored, wide[:, ::-1, ::-1])


@given(st.floats(-3, 3), st.floats(0.7, 1.4), st.integers(-5, 5), st.sampled_from([2, 4]))
def test_turned_surroundings_show_what_lies_around_the_turned_patch(angle, scale, shift, times):
    """A plane is its own mean, so that each pixel says where it was read."""
    rows, columns = np.mgrid[:400, :400].astype(np.float32)
    image = np.stack([rows, columns])
    geometry = Geometry2d(angle=angle, scale=scale, shift_yx=(shift, 2 * shift))
    wide = cut_surroundings(image, (180, 190), (24, 16), geometry, times)
    patch, _ = cut_patch(image, np.zeros((400, 400), np.int16), (180, 190), (24, 16), geometry)
    middle_wide, middle_patch = (each[:, 11:13, 7:9].mean(axis=(1, 2)) for each in (wide, patch))
    np.testing.assert_allclose(middle_wide, middle_patch, atol=0.01)
    for axis in (1, 2):
        np.testing.assert_allclose(
            np.diff(wide, axis=axis), times * np.diff(patch, axis=axis)[:, :24, :16], atol=0.01
        )
