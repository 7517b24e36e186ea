"""The dataset with one thin label."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.thin_label import RIM, RIM_VOXELS, with_rims


def test_rims_are_the_outer_voxels_of_kidneys_and_of_nothing_else() -> None:
    rows, columns = np.mgrid[:100, :100]
    label = np.zeros((2, 100, 100), np.uint8)
    label[1][np.hypot(rows - 50, columns - 50) <= 40] = 2
    label[1, :5, :5] = 1
    rimmed = with_rims(label)
    assert (rimmed[0] == 0).all() and (rimmed[1, :5, :5] == 1).all()
    assert [int(value) for value in rimmed[1, 50, 50:92]] == [2] * (41 - RIM_VOXELS) + [RIM] * RIM_VOXELS + [
        0
    ]
