"""Rotation, scaling and mirroring of the maps that an encoder made of a patch: as `geometry` moves the patch.

Suffixes: h w rows and columns of the map, c its channels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainers.augmentation.geometry import Geometry2d


def move_features(map_hwc: Tensor, patch_yx: tuple[int, int], geometry: Geometry2d) -> Tensor:
    """Move a map that covers a patch as `cut_patch` moves the patch itself: bilinear, zero outside.

    Args:
        map_hwc: (h, w, c) of the patch before it is augmented, whatever the size of its cells.
        patch_yx: height and width of the patch in voxels.
    """
    if geometry.moves or any(geometry.shift_yx):
        map_hwc = _warp(map_hwc, patch_yx, geometry)
    _, flip_y, flip_x = geometry.mirror
    axes = [axis for axis, flipped in ((0, flip_y), (1, flip_x)) if flipped]
    return map_hwc.flip(axes) if axes else map_hwc


def _warp(map_hwc: Tensor, patch_yx: tuple[int, int], geometry: Geometry2d) -> Tensor:
    """In halves of the patch's sides, the units of `affine_grid`, cells of any size are moved alike."""
    (yy, yx), (xy, xx) = geometry.matrix_yx.tolist()
    wide = patch_yx[1] / patch_yx[0]
    down, right = (2 * shift / side for shift, side in zip(geometry.shift_yx, patch_yx, strict=True))
    theta_123 = torch.tensor([[[xx, xy / wide, right], [yx * wide, yy, down]]], dtype=map_hwc.dtype)
    map_1chw = map_hwc.permute(2, 0, 1)[None]
    grid = functional.affine_grid(theta_123, list(map_1chw.shape), align_corners=False)
    moved = functional.grid_sample(map_1chw, grid, "bilinear", "zeros", align_corners=False)
    return moved[0].permute(1, 2, 0)
