"""Refusing images that a wrong spacing would have resampled to sizes that no machine holds."""

from __future__ import annotations

import math
from collections.abc import Iterable

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import Geometry
from balrsam_pipeline.plan import Configuration
from balrsam_pipeline.preprocessing.case import target_spacing
from balrsam_pipeline.preprocessing.resampling import resampled_shape

GROWTH = 50  # times the voxels that an image has: slices of 2 x 2 x 8 mm at 1 mm are 32 times as many
# twice the voxels of a whole body on CT: 2 m in slices of 1 mm of 512 x 512 pixels
LARGEST = 2**30


def require_sensible_growth(where: str, geometry: Geometry, configuration: Configuration) -> None:
    """Check that resampling does not blow an image up.

    Both have to be met for a refusal: more than `GROWTH` times as many voxels, and more than `LARGEST` of
    them; so whatever its size, an image may be predicted at its own spacing.

    Args:
        where: the case and file, for the message.
        geometry: of the image, stored as training volumes are.

    Raises:
        PredictionError: it does.
    """
    first, second, third = configuration.transpose
    shape, spacing = geometry.shape_zyx, geometry.spacing_mm
    stored = (shape[first], shape[second], shape[third])
    spacing_mm = (spacing[first], spacing[second], spacing[third])
    resampled = resampled_shape(stored, spacing_mm, target_spacing(spacing_mm, stored, configuration))
    voxels = math.prod(resampled)
    if voxels <= LARGEST or voxels <= GROWTH * math.prod(stored):
        return
    planned_mm = (configuration.spacing_mm[configuration.transpose.index(axis)] for axis in range(3))
    raise PredictionError(
        where,
        found=f"{_times(shape)} voxels of {_times(spacing)} mm (z × y × x), which resampling would make "
        f"{voxels:,}",
        expected=f"voxels of about {_times(planned_mm)} mm, as the model was trained with; no image is made "
        f"more than {GROWTH} times as large where that exceeds {LARGEST:,} voxels",
        fix="correct the spacing or its unit in the header of a copy (nibabel: header.set_zooms and "
        "set_xyzt_units('mm'); SimpleITK: SetSpacing), or predict with a model of such images",
    )


def _times(sizes: Iterable[float]) -> str:
    return " × ".join(f"{size:.4g}" if isinstance(size, float) else str(size) for size in sizes)
