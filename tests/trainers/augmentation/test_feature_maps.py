"""Maps of a patch move as the patch does; the oracles are scipy and the patch itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from trainers.augmentation import Geometry2d, cut_patch, move_features


def map_of(height: int, width: int, channels: int = 3) -> np.ndarray:
    """A smooth random map (height, width, channels)."""
    rng = np.random.default_rng(height * 100 + width)
    values = ndimage.gaussian_filter(rng.normal(size=(height, width, channels)), (1.0, 1.0, 0))
    return values.astype(np.float32)


@pytest.mark.parametrize("patch_yx", [(56, 40), (56, 112), (14, 10)])
@pytest.mark.parametrize("angle, scale", [(0.3, 1.0), (0.0, 0.8), (-1.2, 1.3), (math.pi / 2, 1.0)])
def test_a_map_is_moved_as_by_scipys_affine_transform(patch_yx, angle, scale):
    values = map_of(14, 10)
    cells = np.diag([patch_yx[0] / 14, patch_yx[1] / 10])  # voxels of a cell
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / scale
    matrix = np.linalg.inv(cells) @ turn @ cells
    middle = np.array([(14 - 1) / 2, (10 - 1) / 2])
    expected = [
        ndimage.affine_transform(
            values[..., channel], matrix, middle - matrix @ middle, order=1, mode="grid-constant"
        )
        for channel in range(3)
    ]
    moved = move_features(torch.from_numpy(values), patch_yx, Geometry2d(angle=angle, scale=scale))
    np.testing.assert_allclose(moved.numpy(), np.stack(expected, axis=-1), atol=1e-5)


@pytest.mark.parametrize("shift_yx", [(0, 0), (3, -2)])
@pytest.mark.parametrize("mirror", [(False, False, False), (False, True, False), (False, True, True)])
def test_a_map_with_a_cell_for_each_voxel_moves_as_the_picture(mirror, shift_yx):
    geometry = Geometry2d(angle=0.4, scale=0.9, mirror=mirror, shift_yx=shift_yx)
    values = map_of(20, 16)
    picture, _ = cut_patch(
        values.transpose(2, 0, 1), np.zeros((20, 16), np.int16), (0, 0), (20, 16), geometry
    )
    moved = move_features(torch.from_numpy(values), (20, 16), geometry).permute(2, 0, 1).numpy()
    covered, _ = cut_patch(
        np.ones((1, 20, 16), np.float32), np.zeros((20, 16), np.int16), (0, 0), (20, 16), geometry
    )
    inside = covered[0] > 0  # at the border scipy stops half a voxel earlier
    np.testing.assert_allclose(moved[:, inside], picture[:, inside], atol=1e-5)


def test_a_map_is_shifted_with_the_picture_cell_by_cell():
    """Cells of four voxels: a shift of eight down and four left is two cells and one."""
    values = torch.from_numpy(map_of(5, 7))
    moved = move_features(values, (20, 28), Geometry2d(shift_yx=(8, -4)))
    expected = torch.zeros_like(values)
    expected[:-2, 1:] = values[2:, :-1]
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=0)


def test_without_rotation_scaling_and_mirroring_a_map_stays_to_the_bit():
    values = torch.from_numpy(map_of(5, 7))
    assert torch.equal(move_features(values, (20, 28), Geometry2d()), values)
    flipped = move_features(values, (20, 28), Geometry2d(mirror=(True, True, True)))
    assert torch.equal(flipped, values.flip(0, 1))
