"""Where each label or region lies in a preprocessed case: voxels to centre training patches on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme

MOST_LOCATIONS = 10_000  # a label and case, as in nnU-Net
_SEED = 1234


def class_locations(
    label_zyx: npt.NDArray[np.integer], labels: LabelScheme
) -> dict[str, npt.NDArray[np.int32]]:
    """Voxels (n, 3) as z, y, x of every label or region, at most `MOST_LOCATIONS` each, drawn with a fixed
    seed.

    A name that the case does not show maps to an array of no rows.
    """
    flat = label_zyx.ravel()
    foreground = np.flatnonzero(flat)
    values = flat[foreground]
    return {
        name: _coordinates(foreground[np.isin(values, covered)], label_zyx.shape)
        for name, covered in zip(labels.names, labels.values, strict=True)
    }


def annotated_locations(
    label_zyx: npt.NDArray[np.integer], labels: LabelScheme
) -> npt.NDArray[np.int32] | None:
    """Voxels (n, 3) that somebody annotated, background included, at most `MOST_LOCATIONS`; None where
    nothing carries the ignore label."""
    ignored = label_zyx == labels.ignore_value if labels.ignore_value is not None else None
    if ignored is None or not ignored.any():
        return None
    return _coordinates(np.flatnonzero(~ignored), label_zyx.shape)


def _coordinates(flat_indices: npt.NDArray[np.intp], shape: tuple[int, ...]) -> npt.NDArray[np.int32]:
    if len(flat_indices) > MOST_LOCATIONS:
        chosen = np.random.default_rng(_SEED).choice(len(flat_indices), MOST_LOCATIONS, replace=False)
        flat_indices = flat_indices[np.sort(chosen)]
    return np.stack(np.unravel_index(flat_indices, shape), axis=1).astype(np.int32)
