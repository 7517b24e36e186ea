"""One synthetic patient: a body with nested, smoothly varying organs, seen in two MR-like channels.

Suffixes: `image_czyx` intensities, `label_zyx` label map. Coordinates are physical (mm), so that anisotropic
voxels show the anatomy as a scanner would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

Volume = npt.NDArray[np.float32]

# tissue -> (T1-like, T2-like) intensity; rows: air, body, bystander organ, label 1 (organ), label 2 (its
# core)
INTENSITY = np.array([[20, 15], [300, 220], [420, 180], [520, 420], [380, 640]], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """One patient: `image_czyx` (2, z, y, x) int16 and `label_zyx` (z, y, x) uint8 with values 0, 1, 2."""

    image_czyx: npt.NDArray[np.int16]
    label_zyx: npt.NDArray[np.uint8]


def make_phantom(
    shape_zyx: tuple[int, int, int], spacing_mm: tuple[float, float, float], generator: np.random.Generator
) -> Phantom:
    """Draw one patient.

    Args:
        shape_zyx: voxels along z, y, x.
        spacing_mm: voxel size along z, y, x.
        generator: the only source of randomness.
    """
    extent_mm = np.array(shape_zyx) * np.array(spacing_mm)
    axes = [
        (np.arange(n) + 0.5) * step - extent / 2
        for n, step, extent in zip(shape_zyx, spacing_mm, extent_mm, strict=True)
    ]
    grid = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)
    organ_centre = generator.uniform(-0.12, 0.12, 3) * extent_mm
    organ_radius = extent_mm * generator.uniform(0.19, 0.26, 3)
    tissue = np.zeros(shape_zyx, dtype=np.uint8)
    tissue[_blob(grid, np.zeros(3), extent_mm * np.array([0.75, 0.44, 0.44]), 0.03, generator)] = 1
    bystander_centre = organ_centre + extent_mm * np.array([0.0, 0.26, 0.24]) * generator.choice(
        [-1.0, 1.0], 3
    )
    tissue[_blob(grid, bystander_centre, organ_radius * 0.5, 0.15, generator) & (tissue == 1)] = 2
    organ = _blob(grid, organ_centre, organ_radius, 0.18, generator)
    core_centre = organ_centre + generator.uniform(-0.2, 0.2, 3) * organ_radius
    core = _blob(grid, core_centre, organ_radius * generator.uniform(0.45, 0.6), 0.15, generator)
    tissue[organ] = 3
    tissue[organ & core] = 4
    return Phantom(
        image_czyx=_scan(tissue, grid / extent_mm.max(), generator),
        label_zyx=np.where(tissue > 2, tissue - 2, 0).astype(np.uint8),
    )


def _blob(
    grid: Volume,
    centre_mm: npt.NDArray[np.float64],
    radius_mm: npt.NDArray[np.float64],
    roughness: float,
    generator: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """A smooth star-shaped body: an ellipsoid whose radius varies with direction by low-order polynomials."""
    offset = (grid - centre_mm.astype(np.float32)[:, None, None, None]) / radius_mm.astype(np.float32)[
        :, None, None, None
    ]
    distance = np.sqrt((offset**2).sum(axis=0)) + 1e-6
    z, y, x = offset / distance
    shape_functions = (
        x * y,
        y * z,
        x * z,
        x**2 - y**2,
        3 * z**2 - 1,
        x**3 - 3 * x * y**2,
        y**3 - 3 * y * x**2,
    )
    weights = generator.normal(0.0, roughness, len(shape_functions))
    radius = 1.0 + sum(weight * function for weight, function in zip(weights, shape_functions, strict=True))
    return np.asarray(distance < np.clip(radius, 0.6, 1.5))


def _scan(
    tissue: npt.NDArray[np.uint8], grid: Volume, generator: np.random.Generator
) -> npt.NDArray[np.int16]:
    """What the scanner makes of it: partial volume, texture, a bias field, another gain each patient, Rician
    noise."""
    channels = []
    for channel in range(INTENSITY.shape[1]):
        clean = gaussian_filter(INTENSITY[tissue, channel], sigma=(0.3, 0.7, 0.7))
        texture = gaussian_filter(generator.normal(0.0, 1.0, tissue.shape), sigma=(0.5, 1.5, 1.5)) * 60.0
        slope = generator.normal(0.0, 0.35, 3)
        bias = np.exp(
            sum(weight * axis for weight, axis in zip(slope, grid, strict=True))
            + generator.normal(0, 0.4) * (grid**2).sum(axis=0)
        )
        signal = (clean + texture * (tissue > 0)) * bias * generator.uniform(0.8, 1.25)
        real, imaginary = generator.normal(0.0, 22.0, (2, *tissue.shape))
        channels.append(np.hypot(signal + real, imaginary))
    return np.stack(channels).round().clip(0, 32767).astype(np.int16)
