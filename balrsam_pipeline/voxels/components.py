"""Connected components of a mask."""

from __future__ import annotations

import cc3d
import numpy as np
import numpy.typing as npt

CONNECTIVITY = 26  # touching corners connect, as in nnU-Net; for one slice this is 8 in-plane


def connected_components(mask_zyx: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.integer], int]:
    """The component of each voxel (z, y, x), from 1, 0 in the background; and how many there are.

    Source: connected-components-3d. Its version 4.1.1 reserves too few labels for masks nearly full of
    isolated voxels ("maximum length exception"), for which a margin makes room.

    Example:
        >>> components, count = connected_components(np.array([[[True, False, True, False, True]]]))
        >>> components.tolist(), count
        ([[[1, 0, 2, 0, 3]]], 3)
    """
    padded, count = cc3d.connected_components(np.pad(mask_zyx, 1), connectivity=CONNECTIVITY, return_N=True)
    return padded[1:-1, 1:-1, 1:-1], int(count)
