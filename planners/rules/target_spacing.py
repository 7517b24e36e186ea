"""Target spacing: the median, and finer along an axis of few thick slices."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.imageio import THICK_MM, is_flat
from balrsam_pipeline.plan import Fingerprint
from planners.rules import Decision, numbers
from planners.rules.configurations import flat_axis

ANISOTROPY_THRESHOLD = 3.0  # nnU-Net's, for spacing and for voxel counts
FINE_PERCENTILE = 10.0  # nnU-Net's: few cases are then interpolated across thick slices by much


def target_spacing(
    fingerprint: Fingerprint, across: int | None = None
) -> Decision[tuple[float, float, float]]:
    """Spacing (z, y, x) in mm on the raw axes.

    Args:
        across: the raw axis along which cases keep their own spacing, so that the reason says nothing of a
            finer one there; None where they are resampled along all.

    Source: nnU-Net v2, `ExperimentPlanner.determine_fullres_target_spacing`.
    """
    spacings = np.array([case.spacing_mm for case in fingerprint.cases])
    sizes = np.median([case.cropped_shape_zyx for case in fingerprint.cases], axis=0)
    target = np.percentile(spacings, 50, axis=0)
    flat = flat_axis(fingerprint)
    if flat is not None:
        within = tuple(float(value) for value in np.delete(target, flat))
        if not is_flat((target[flat], *within)):  # one slice, whose thickness is not told: the header's 1 mm
            target[flat] = THICK_MM
        return Decision(_triple(target), f"the median over {len(spacings)} images ({numbers(within)})")
    reason = f"the median over {len(spacings)} cases ({numbers(tuple(target), 'mm')})"
    coarse = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != coarse]
    finest_allowed = max(target[axis] for axis in others)
    if target[coarse] > ANISOTROPY_THRESHOLD * finest_allowed and sizes[coarse] * ANISOTROPY_THRESHOLD < min(
        sizes[others]
    ):
        fine = float(np.percentile(spacings[:, coarse], FINE_PERCENTILE))
        target[coarse] = fine if fine >= finest_allowed else finest_allowed + 1e-5
        if coarse != across:
            reason += (
                f"; along axis {'zyx'[coarse]} slices are few and thick, so there the 10th percentile, "
                f"{target[coarse]:.4g} mm, keeps the detail of the finer cases"
            )
    return Decision(_triple(target), reason)


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
