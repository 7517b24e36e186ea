"""Where the voxels of an image lie in the patient, and an image as this pipeline holds it.

Suffixes: `image_czyx` (channel, z, y, x), `label_zyx`; `spacing_mm` in the same order; `origin_mm` and
`direction` as SimpleITK has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
THICK_MM = 999.0  # z spacing of a 2D image in multiples of its in-plane spacing (nnU-Net's convention)
FLAT_MM, FLAT_RATIO = 50.0, 60.0  # slices of volumes are nearer, in mm and in multiples of their pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The voxel grid of an image in patient space (LPS, mm).

    Attributes:
        dimension: 2 for pictures and 2D NIfTI, 3 for volumes (also those of one slice).
        shape_zyx: voxels; a 2D image has z = 1.
        spacing_mm: (z, y, x); for a 2D image z is 999 times the larger in-plane spacing, as in nnU-Net.
        origin_mm: (x, y, z) of the first voxel's centre.
        direction: SimpleITK's direction cosines, 3×3 row by row; columns belong to x, y, z.
    """

    dimension: int
    shape_zyx: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = IDENTITY

    @property
    def orientation(self) -> str:
        """The anatomical direction in which x, y, z grow, such as "LPS" or "RAS"; "2D" for a 2D image."""
        return "2D" if self.dimension == 2 else orientation_code(self.direction)

    @property
    def stored(self) -> str:
        """The same by the header alone, of 2D images too ("LPS" where it says nothing)."""
        return orientation_code(self.direction)


@dataclass(frozen=True, slots=True)
class Image:
    """Voxels (channel, z, y, x), in the type that they have on disk, and where they lie."""

    data: npt.NDArray[Any]
    geometry: Geometry


def is_flat(spacing_mm: tuple[float, float, float]) -> bool:
    """Whether a spacing (z, y, x) is that of 2D images, at whatever size they are seen: their pixels may have
    a physical size, and be made larger, so that `THICK_MM` of them is neither 999 mm nor 999 pixels.

    Example:
        >>> is_flat((999.0, 4.0, 4.0)), is_flat((149.9, 0.15, 0.15)), is_flat((0.5, 0.006, 0.006))
        (True, True, True)
        >>> is_flat((10.0, 1.5, 1.5)), is_flat((0.04, 0.004, 0.004))
        (False, False)
    """
    return spacing_mm[0] >= FLAT_MM or spacing_mm[0] >= FLAT_RATIO * max(spacing_mm[1:])


def picture_geometry(height: int, width: int) -> Geometry:
    """The geometry of a picture that has none: 1 mm pixels at the origin."""
    return Geometry(dimension=2, shape_zyx=(1, height, width), spacing_mm=(THICK_MM, 1.0, 1.0))


def orientation_code(direction: tuple[float, ...]) -> str:
    """The three-letter code of 3×3 direction cosines, nearest axis for oblique ones (identity is "LPS").

    Example:
        >>> orientation_code(IDENTITY)
        'LPS'
    """
    strength = np.abs(np.array(direction, dtype=np.float64).reshape(3, 3))
    signs = np.array(direction, dtype=np.float64).reshape(3, 3)
    letters = ["", "", ""]
    for _ in range(3):  # the strongest pairing first, so that no anatomical axis is used twice
        world, image = np.unravel_index(int(strength.argmax()), (3, 3))
        letters[int(image)] = ("LR", "PA", "SI")[int(world)][int(signs[world, image] < 0)]
        strength[world, :] = -1.0
        strength[:, image] = -1.0
    return "".join(letters)


def is_orthonormal(direction: tuple[float, ...], tolerance: float = 1e-4) -> bool:
    """Whether the axes are perpendicular and of length 1; SimpleITK refuses NIfTI files where they are
    not."""
    matrix = np.array(direction, dtype=np.float64).reshape(3, 3)
    return bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=tolerance))


def spacing_differs(first: Geometry, second: Geometry, tolerance: float = 1e-3) -> bool:
    """Whether two spacings differ by more than `tolerance` relative to the first."""
    return not np.allclose(first.spacing_mm, second.spacing_mm, rtol=tolerance, atol=0.0)


def origin_differs(first: Geometry, second: Geometry, tolerance: float = 1e-2) -> bool:
    """Whether two origins are further apart than `tolerance` voxels (never less than 1e-3 mm) along an
    axis."""
    allowed = max(tolerance * min(first.spacing_mm[-first.dimension :]), 1e-3)
    return not np.allclose(first.origin_mm, second.origin_mm, rtol=0.0, atol=allowed)


def direction_differs(first: Geometry, second: Geometry, tolerance: float = 1e-3) -> bool:
    """Whether two sets of direction cosines differ by more than `tolerance`."""
    return not np.allclose(first.direction, second.direction, rtol=0.0, atol=tolerance)
