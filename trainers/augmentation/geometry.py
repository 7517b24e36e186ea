"""Rotation, scaling, bending and mirroring of a 2D patch, in one interpolation straight from the slice.

batchgenerators' spatial transform cuts an enlarged patch; an affine of the slice itself sees real tissue
at the corners where the slice has it.

Suffixes: `image_chw` channels (slices-major for 2.5d), `label_hw` integer labels, `_yx` row and column.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from balrsam_pipeline.network import shrunk
from trainers.augmentation_config import TRANSLATION_PROBABILITY, AugmentationConfig

Scalar = TypeVar("Scalar", bound=np.generic)
WIDE_PATCH = 1.5  # nnU-Net: beyond this aspect ratio a large rotation would fill the patch with padding
WIDE_PATCH_DEGREES, SQUARE_PATCH_DEGREES = 15.0, 180.0
ROUNDING = 1e-3  # of places, in voxels
BEND_POINTS = (4, 7)  # along each side of a patch, between which it bends smoothly
MOST_ONE_HOT_LABELS = (
    8  # labels are interpolated one by one; beyond this many in a slice the nearest label is taken
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry2d:
    """Drawn parameters: `angle` in radians, `scale` > 1 shows less tissue larger, `mirror` for (slice axis,
    y, x); `shift_yx` is how many voxels further down and right the patch is cut; `bend` is how far along x
    and then y each of its points is moved, row by row, in sides of the patch."""

    angle: float = 0.0
    scale: float = 1.0
    mirror: tuple[bool, bool, bool] = (False, False, False)
    shift_yx: tuple[int, int] = (0, 0)
    bend: tuple[float, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether voxels come to lie between voxels: mirroring alone does not do that."""
        return self.angle != 0.0 or self.scale != 1.0 or bool(self.bend)

    @property
    def matrix_yx(self) -> npt.NDArray[np.float64]:
        """(2, 2): from a place in the patch, relative to its middle in voxels, to where its value is read."""
        cosine, sine = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        return np.array([[cosine, -sine], [sine, cosine]])


def draw_geometry(
    rng: np.random.Generator,
    config: AugmentationConfig,
    patch_yx: tuple[int, int],
    mirrored: tuple[bool, bool, bool],
) -> Geometry2d:
    """Draw rotation, scaling and mirroring; `mirrored` says which of (slice axis, y, x) may be mirrored."""
    aspect = max(patch_yx) / min(patch_yx)
    rule = WIDE_PATCH_DEGREES if aspect > WIDE_PATCH else SQUARE_PATCH_DEGREES
    largest = math.radians(rule if config.rotation_degrees is None else config.rotation_degrees)
    draws = rng.random(
        8
    )  # always as many, so that switching one transform off leaves the others as they were
    angle, scale = 0.0, 1.0
    if config.enabled and draws[0] < config.probability("rotation_probability"):
        angle = (2 * draws[1] - 1) * largest
    if config.enabled and draws[2] < config.probability("scaling_probability"):
        scale = draw_scale(draws[3], draws[4], config.scaling_range)
    may_flip = config.enabled and config.mirroring
    flips = [
        bool(may_flip and allowed and draw < 0.5) for draw, allowed in zip(draws[5:], mirrored, strict=True)
    ]
    return Geometry2d(angle=float(angle), scale=float(scale), mirror=(flips[0], flips[1], flips[2]))


def draw_shift(
    rng: np.random.Generator,
    config: AugmentationConfig,
    patch_yx: tuple[int, int],
    room_yx: tuple[int, int],
) -> tuple[int, int]:
    """Draw by how many voxels a patch is moved that shows a slice whole.

    Such a patch has one place only, and where structures lie would be learnt by heart. Along a side with
    `room_yx` (length of the slice less that of the patch) for other places nothing is moved.
    """
    draws = rng.random(3)  # always as many
    given = config.translation_probability
    if not config.enabled or draws[0] >= (TRANSLATION_PROBABILITY if given is None else given):
        return 0, 0
    down, right = (
        round((2 * draw - 1) * config.translation_fraction * side)
        if room < config.translation_fraction * side
        else 0
        for draw, side, room in zip(draws[1:], patch_yx, room_yx, strict=True)
    )
    return down, right


def draw_bend(rng: np.random.Generator, config: AugmentationConfig) -> tuple[float, ...]:
    """Draw how the points of a patch are moved (`Geometry2d.bend`); nothing for patches that stay straight.

    Few points move far and many of them little, so that tissue is not folded.
    """
    draws = rng.random(2)
    if not config.enabled or draws[0] >= config.probability("elastic_probability"):
        return ()
    points, (low, high) = int(rng.integers(BEND_POINTS[0], BEND_POINTS[1] + 1)), config.elastic_strength
    spread = (low + draws[1] * (high - low)) / (points - BEND_POINTS[0] + 1)
    return tuple((rng.standard_normal(2 * points**2) * spread).tolist())


def draw_scale(side: float, position: float, scaling_range: tuple[float, float]) -> float:
    """Smaller or larger with equal chance, uniform within each; both numbers from 0 to 1. Source: nnU-Net."""
    low, high = scaling_range
    if side < 0.5 and low < 1:
        return low + position * (min(high, 1.0) - low)
    return max(low, 1.0) + position * (high - max(low, 1.0))


def cut_patch(
    image_chw: npt.NDArray[np.float32],
    label_hw: npt.NDArray[np.int16],
    corner_yx: tuple[int, int],
    patch_yx: tuple[int, int],
    geometry: Geometry2d,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """Cut a patch whose upper left voxel is `corner_yx` (it may lie outside) and apply `geometry` about its
    centre.

    Outside the slice the image is 0 and the label is 0 (background), as at prediction.
    """
    corner_yx = (corner_yx[0] + geometry.shift_yx[0], corner_yx[1] + geometry.shift_yx[1])
    if geometry.moves:
        middle = (np.array(patch_yx) - 1) / 2
        offset = np.array(corner_yx) + middle - geometry.matrix_yx @ middle
        image, label = resample(
            image_chw, label_hw, geometry.matrix_yx, offset, patch_yx, _bent(geometry.bend, patch_yx)
        )
    else:
        image = padded_crop(image_chw, corner_yx, patch_yx)
        label = padded_crop(label_hw, corner_yx, patch_yx)
    return _mirrored(image, geometry), _mirrored(label, geometry)


def cut_surroundings(
    image_chw: npt.NDArray[np.float32],
    corner_yx: tuple[int, int],
    patch_yx: tuple[int, int],
    geometry: Geometry2d,
    times: int,
) -> npt.NDArray[np.float32]:
    """What lies around a patch that `cut_patch` cuts: `times` as wide and high about the same middle, moved
    alike (but not bent), shrunk to the patch's size; outside the slice 0.

    Returns:
        (c, y, x), each value the mean of `times` × `times` voxels.
    """
    patch = np.array(patch_yx)
    middle = (patch - 1) / 2
    corner = np.array(corner_yx) + geometry.shift_yx
    reach = np.abs(geometry.matrix_yx) @ patch / 2 + 1
    centre = (corner + patch / 2) / times  # in cells of the shrunk slice, from the slice's border
    last_cell = -(-np.array(image_chw.shape[1:]) // times)
    start = np.clip(np.floor(centre - reach).astype(int), 0, last_cell)
    stop = np.clip(np.ceil(centre + reach).astype(int), 0, last_cell)
    (top, left), (bottom, right) = start * times, stop * times
    cells = shrunk(torch.from_numpy(padded_crop(image_chw, (top, left), (bottom - top, right - left))), times)
    if not cells.numel():
        return np.zeros((len(image_chw), *patch_yx), dtype=np.float32)
    if geometry.moves:
        offset = centre - 0.5 - start - geometry.matrix_yx @ middle
        nothing = np.zeros(cells.shape[1:], dtype=np.int16)
        wide, _ = resample(cells.numpy(), nothing, geometry.matrix_yx, offset, patch_yx)
    else:
        first = np.floor(centre - patch / 2 + 0.5).astype(int) - start
        wide = padded_crop(cells.numpy(), first.tolist(), patch_yx)
    return _mirrored(wide, geometry)


def _mirrored(array: npt.NDArray[Scalar], geometry: Geometry2d) -> npt.NDArray[Scalar]:
    """The last two axes flipped as the geometry says."""
    flips = (slice(None, None, -1) if flip else slice(None) for flip in geometry.mirror[1:])
    return np.ascontiguousarray(array[(..., *flips)])


def padded_crop(
    array: npt.NDArray[Scalar], corner: Sequence[int], size: Sequence[int]
) -> npt.NDArray[Scalar]:
    """A patch of the last axes of an array, from `corner` on; 0 where that lies outside."""
    lead = array.ndim - len(size)
    patch = np.zeros((*array.shape[:lead], *size), dtype=array.dtype)
    overlaps = [_overlap(*axis) for axis in zip(corner, size, array.shape[lead:], strict=True)]
    front = (slice(None),) * lead
    patch[(*front, *(to for _, to in overlaps))] = array[(*front, *(source for source, _ in overlaps))]
    return patch


def _overlap(corner: int, size: int, length: int) -> tuple[slice, slice]:
    """What an interval that starts at `corner` shares with 0…length: in the latter's and in its own
    coordinates."""
    first = min(max(corner, 0), length)
    last = max(first, min(corner + size, length))
    return slice(first, last), slice(first - corner, last - corner)


def _bent(bend: tuple[float, ...], patch_yx: tuple[int, int]) -> Tensor | None:
    """How far each voxel of a patch is moved, (1, y, x, 2) in voxels, x first: cubic between the points."""
    if not bend:
        return None
    points = math.isqrt(len(bend) // 2)
    coarse = torch.tensor(bend, dtype=torch.float32).view(1, 2, points, points)
    moved_12yx = functional.interpolate(coarse, size=patch_yx, mode="bicubic", align_corners=True)
    return moved_12yx.permute(0, 2, 3, 1) * torch.tensor(patch_yx[::-1])


def resample(
    image: npt.NDArray[np.float32],
    label: npt.NDArray[np.int16],
    matrix: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    size: tuple[int, ...],
    moved: Tensor | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int16]]:
    """An image (channels first) and its label in a patch of `size`, which reads at matrix · place + offset.

    Both linearly, with zeros outside the middles of the outermost voxels; of labels each is a share of the
    voxel, and the largest wins. PyTorch reads all planes at the same places in one go, which takes a tenth of
    SciPy's time for slices.

    Args:
        moved: how many voxels further each voxel is read, (1, …, axes), last axis first.
    """
    places, sides = _places(matrix, offset, size, label.shape), torch.tensor(label.shape[::-1])
    if moved is not None:
        places = places + 2 * moved / sides
    within = (places.abs() * sides <= sides - 1 + 2 * ROUNDING).all(-1)[0].numpy()
    present = np.unique(label)
    if len(present) > MOST_ONE_HOT_LABELS:
        nearest = _read(label[None].astype(np.float32), places, "nearest")
        return within * _read(image.copy(), places, "bilinear"), (within * nearest[0]).astype(np.int16)
    values = np.concatenate([[0], present[present != 0]]).astype(np.int16)
    planes = np.stack([*image, *(label == value for value in values[1:])], dtype=np.float32)
    read = within * _read(planes, places, "bilinear")
    shares = read[len(image) :]
    background = 1 - shares.sum(axis=0, keepdims=True)  # and what lies outside
    return read[: len(image)], values[np.concatenate([background, shares]).argmax(axis=0)]


def _places(
    matrix: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    size: tuple[int, ...],
    shape: tuple[int, ...],
) -> Tensor:
    """Where each voxel of a patch is read in an image of `shape`, as `grid_sample` counts: last axis first,
    from -1 to 1 between the image's outer borders."""
    read, written = np.array(shape), np.array(size)
    linear = matrix * written / read[:, None]
    constant = (2 * (matrix @ (written - 1) / 2 + offset) + 1) / read - 1
    theta = np.concatenate([linear[::-1, ::-1], constant[::-1, None]], axis=1)
    return functional.affine_grid(
        torch.from_numpy(theta[None].astype(np.float32)), [1, 1, *size], align_corners=False
    )


def _read(planes: npt.NDArray[np.float32], places: Tensor, mode: str) -> npt.NDArray[np.float32]:
    read = functional.grid_sample(torch.from_numpy(planes)[None], places, mode, "zeros", align_corners=False)
    return np.asarray(read[0].numpy())
