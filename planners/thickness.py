"""How thick labels are within slices: what decides how fine masks must be decoded.

Suffixes: `label_zyx` a label map whose first axis is the slice axis.
"""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt

_APART = 1e6  # voxels between slices, so that distances are those within slices
MOST_SLICES = 16  # evenly spread over those that show the label: enough for a mean, and memory stays bounded


def in_plane_thickness_px(mask_zyx: npt.NDArray[np.bool_]) -> float | None:
    """Mean thickness of a mask within slices, in voxels; None where the mask is empty.

    In a strip of width w the distance to the edge is w / 4 on average, so thickness is four times the mean distance. A disk
    counts two thirds of its diameter.
    """
    shown = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    if len(shown) == 0:
        return None
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, MOST_SLICES).round().astype(int))]
    apart = (_APART, 1.0, 1.0)
    distance = edt.edt(np.ascontiguousarray(mask_zyx[chosen]), anisotropy=apart, black_border=False, parallel=1)
    inside = distance[(distance > 0) & (distance < _APART)]  # a slice that is all mask has no edge
    return float(4 * (inside.mean() - 0.5)) if len(inside) else float(min(mask_zyx.shape[1:]))
