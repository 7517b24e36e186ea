"""The joint histogram and the boxes, against NumPy's slow way."""

from __future__ import annotations

import numpy as np
import pytest

from evaluation.metrics import joint
from evaluation.metrics.joint import joint_counts


@pytest.mark.parametrize("values", [[0, 1, 2, 5], [0, 3, 300, 65535], [0, 0, 0, 255], [4, 7]], ids=str)
@pytest.mark.parametrize("slab_voxels", [1, 40, 1 << 18])
def test_counts_and_boxes_are_what_comparing_every_voxel_gives(
    monkeypatch: pytest.MonkeyPatch, values: list[int], slab_voxels: int
) -> None:
    monkeypatch.setattr(joint, "SLAB_VOXELS", slab_voxels)
    rng = np.random.default_rng(5)
    for shape in ((4, 5, 6), (1, 7, 3), (9, 1, 2)):
        prediction, reference = (rng.choice(values, shape).astype(np.uint16) for _ in range(2))
        prediction[:1] = reference[:1] = 0
        found = joint_counts(prediction, reference)
        assert found.values == tuple(np.unique([prediction, reference]))
        for row, truth in enumerate(found.values):
            for column, guess in enumerate(found.values):
                assert found.table[row, column] == np.sum((reference == truth) & (prediction == guess))
        for value in set(found.values) - {0}:
            places = np.argwhere((reference == value) | (prediction == value))
            assert [(side.start, side.stop) for side in found.boxes[value]] == list(
                zip(places.min(axis=0), places.max(axis=0) + 1, strict=True)
            )


def test_different_types_of_the_two_maps_meet() -> None:
    prediction, reference = np.zeros((2, 2, 2), dtype=np.uint8), np.zeros((2, 2, 2), dtype=np.int32)
    prediction[0, 0, 0], reference[0, 0, 0] = 200, 1000
    assert joint_counts(prediction, reference).values == (0, 200, 1000)
