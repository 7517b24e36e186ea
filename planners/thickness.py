"""How thick labels are within slices: what decides how fine masks must be decoded.

Suffixes: `label_zyx` a label map whose first axis is the slice axis.
"""

from __future__ import annotations

import edt
import numpy as np
import numpy.typing as npt

MOST_SLICES = 16  # evenly spread over those that show the label: enough for a mean, and memory stays bounded


def in_plane_thickness_px(mask_zyx: npt.NDArray[np.bool_]) -> float | None:
    """Mean thickness of a mask within slices, in voxels; None where the mask is empty.

    In a strip of width w the distance to the edge is w / 4 on average, so thickness is four times the mean distance. A disk
    counts two thirds of its diameter. The image's border counts as an edge.
    """
    shown = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    if len(shown) == 0:
        return None
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, MOST_SLICES).round().astype(int))]
    # slices one below the other with an empty row between: one distance transform instead of many small ones
    stacked = np.pad(mask_zyx[chosen], ((0, 0), (0, 1), (0, 0))).reshape(-1, mask_zyx.shape[2])
    distance = edt.edt(np.ascontiguousarray(stacked), black_border=True, parallel=1)
    return float(4 * (distance[stacked].mean() - 0.5))
