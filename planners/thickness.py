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
    counts two thirds of its diameter.
    """
    shown = np.flatnonzero(mask_zyx.any(axis=(1, 2)))
    if len(shown) == 0:
        return None
    chosen = shown[np.unique(np.linspace(0, len(shown) - 1, MOST_SLICES).round().astype(int))]
    total, count = 0.0, 0
    for index in chosen:
        distance = edt.edt(np.ascontiguousarray(mask_zyx[index]), black_border=False)
        inside = distance[np.isfinite(distance) & (distance > 0)]  # a slice that is all mask has no edge
        total, count = total + float(inside.sum()) - 0.5 * len(inside), count + len(inside)
    return 4 * total / count if count else float(min(mask_zyx.shape[1:]))
