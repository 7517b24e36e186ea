"""Rotation, scaling and mirroring of patches of volumes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from trainers.augmentation import Geometry3d, cut_volume, draw_volume_geometry
from trainers.augmentation_config import AugmentationConfig

SHAPE = (12, 14, 16)


def volume() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.normal(size=SHAPE), 1.5).astype(np.float32)
    return image[None], (image > 0).astype(np.int16) + (image > 0.1)


def cut(corner: tuple[int, int, int], size: tuple[int, int, int], geometry: Geometry3d):  # type: ignore[no-untyped-def]
    image, label = volume()
    asked = []

    def read(box):  # type: ignore[no-untyped-def]
        asked.append(box)
        return image[(slice(None), *box)], label[box]

    patch = cut_volume(read, SHAPE, corner, size, geometry)
    return (*patch, asked[0])


def test_a_patch_inside_is_the_volume_s_box_and_nothing_else_is_read() -> None:
    image, label = volume()
    patch, labels, box = cut((2, 3, 4), (5, 6, 7), Geometry3d())
    where = (slice(2, 7), slice(3, 9), slice(4, 11))
    np.testing.assert_array_equal(patch[0], image[0][where])
    np.testing.assert_array_equal(labels, label[where])
    assert box == where


def test_what_lies_outside_is_background() -> None:
    image, label = volume()
    patch, labels, _ = cut((-2, -3, 8), (16, 20, 16), Geometry3d())
    np.testing.assert_array_equal(patch[0], np.pad(image[0], ((2, 2), (3, 3), (0, 8)))[:, :, 8:24])
    np.testing.assert_array_equal(labels, np.pad(label, ((2, 2), (3, 3), (0, 8)))[:, :, 8:24])


def test_a_patch_wholly_outside_is_empty() -> None:
    for geometry in (Geometry3d(), Geometry3d(angles=(0.1, 0.0, 0.0))):
        patch, labels, _ = cut((40, 40, 40), (4, 4, 4), geometry)
        assert not patch.any() and not labels.any()


def test_a_patch_reads_the_same_from_a_box_as_from_the_whole_volume() -> None:
    image, _ = volume()
    geometry = Geometry3d(angles=(0.3, -0.2, 0.4), scales=(1.2, 0.8, 1.1), spacing_mm=(2.0, 1.0, 1.0))
    size, corner = (6, 6, 6), np.array((3, 4, 5))
    middle = (np.array(size) - 1) / 2
    offset = corner + middle - geometry.matrix_zyx @ middle
    expected = ndimage.affine_transform(
        image[0], geometry.matrix_zyx, offset, output_shape=size, order=1, mode="constant"
    )
    patch, _, _ = cut((3, 4, 5), size, geometry)
    np.testing.assert_allclose(patch[0], expected, atol=1e-5)


@pytest.mark.parametrize("axis", range(3))
def test_a_quarter_turn_about_an_axis_is_rot90(axis: int) -> None:
    image = np.random.default_rng(1).normal(size=(1, 9, 9, 9)).astype(np.float32)
    angles = [0.0, 0.0, 0.0]
    angles[axis] = math.pi / 2
    geometry = Geometry3d(angles=(angles[0], angles[1], angles[2]))
    label = np.zeros((9, 9, 9), np.int16)
    patch, _ = cut_volume(
        lambda box: (image[(slice(None), *box)], label[box]), (9, 9, 9), (0, 0, 0), (9, 9, 9), geometry
    )
    plane = tuple(other for other in range(3) if other != axis)
    turned = [np.rot90(image[0], turns, plane) for turns in (1, 3)]
    assert min(np.abs(patch[0] - each).max() for each in turned) < 1e-4


def test_turns_keep_lengths_in_mm() -> None:
    spacing = np.array((3.0, 1.0, 0.5))
    matrix = Geometry3d(angles=(0.3, 0.5, -0.4), spacing_mm=tuple(spacing)).matrix_zyx
    in_mm = np.diag(spacing) @ matrix @ np.diag(1 / spacing)
    np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)


def test_mirroring_flips_the_axes_that_were_drawn() -> None:
    patch, labels, _ = cut((0, 0, 0), SHAPE, Geometry3d(mirror=(True, False, True)))
    image, label = volume()
    np.testing.assert_array_equal(patch[0], image[0][::-1, :, ::-1])
    np.testing.assert_array_equal(labels, label[::-1, :, ::-1])


def test_draws_keep_to_their_ranges_and_to_the_axes_that_may_be_mirrored() -> None:
    config = AugmentationConfig(rotation_probability=1, scaling_probability=1)
    rng = np.random.default_rng(0)
    drawn = [draw_volume_geometry(rng, config, (1.0, 1.0, 1.0), (2,)) for _ in range(300)]
    angles = np.degrees([each.angles for each in drawn])
    scales = np.array([each.scales for each in drawn])
    assert np.abs(angles).max() <= 30 and (np.abs(angles).max(axis=0) > 25).all()
    assert scales.min() >= 0.7 and scales.max() <= 1.4
    assert {each.mirror[:2] for each in drawn} == {(False, False)}
    assert 0.4 < np.mean([each.mirror[2] for each in drawn]) < 0.6


def test_thick_slices_are_turned_and_scaled_within_themselves() -> None:
    config = AugmentationConfig(rotation_probability=1, scaling_probability=1)
    geometry = draw_volume_geometry(np.random.default_rng(0), config, (8.0, 1.0, 1.0), ())
    assert geometry.angles[0] != 0 and geometry.angles[1:] == (0.0, 0.0)
    assert geometry.scales[0] == 1.0 and 1.0 not in geometry.scales[1:]


def test_switched_off_nothing_moves() -> None:
    geometry = draw_volume_geometry(
        np.random.default_rng(0), AugmentationConfig(enabled=False), (1, 1, 1), (0, 1, 2)
    )
    assert not geometry.moves and not any(geometry.mirror)
