"""The joint histogram and the boxes, against NumPy's slow way."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from balrsam_pipeline.errors import EvaluationError
from evaluation.metrics.engine import confusion
from evaluation.metrics.engine.confusion import joint_counts


@pytest.mark.parametrize(
    "values", [[0, 1, 2, 5], [0, 3, 300, 65535], [0, 0, 0, 255], [4, 7], [0, 1, 15, 16, 17, 40]], ids=str
)
@pytest.mark.parametrize("step_voxels", [1, 40, 1 << 20])
def test_counts_and_boxes_are_what_comparing_every_voxel_gives(
    monkeypatch: pytest.MonkeyPatch, values: list[int], step_voxels: int
) -> None:
    monkeypatch.setattr(confusion, "STEP_VOXELS", step_voxels)
    rng = np.random.default_rng(5)
    for shape, dtype in itertools.product(
        [(4, 5, 6), (1, 7, 3), (9, 1, 2), (6, 3, 64), (5, 4, 67)], [np.uint8, np.uint16]
    ):
        if max(values) > np.iinfo(dtype).max:
            continue
        prediction, reference = (rng.choice(values, shape).astype(dtype) for _ in range(2))
        prediction[:1] = reference[:1] = 0
        prediction[1:, :, 8:40] = reference[1:, :, 8:40] = values[-1]
        found = joint_counts(prediction, reference)
        assert found.values == tuple(np.unique([prediction, reference]))
        for row, truth in enumerate(found.values):
            for column, guess in enumerate(found.values):
                assert found.table[row, column] == np.sum((reference == truth) & (prediction == guess))
        for value in set(found.values) - {0}:
            places = np.argwhere((reference == value) | (prediction == value))
            z, y, x = found.boxes[value]
            tight = list(zip(places.min(axis=0), places.max(axis=0) + 1, strict=True))
            assert [(side.start, side.stop) for side in (z, y)] == tight[:2]
            assert 0 <= tight[2][0] - x.start < 8 and 0 <= x.stop - tight[2][1] < 8 and x.stop <= shape[2]


def test_different_types_of_the_two_maps_meet() -> None:
    prediction, reference = np.zeros((2, 2, 2), dtype=np.uint8), np.zeros((2, 2, 2), dtype=np.int32)
    prediction[0, 0, 0], reference[0, 0, 0] = 200, 1000
    assert joint_counts(prediction, reference).values == (0, 200, 1000)


def test_a_cut_out_that_is_not_contiguous_counts_the_same() -> None:
    prediction, reference = np.random.default_rng(2).integers(0, 4, (2, 6, 70, 80), dtype=np.uint8)
    cut = (slice(None), slice(3, 60), slice(1, 65))
    found, copied = (
        joint_counts(prediction[cut], reference[cut]),
        joint_counts(prediction[cut].copy(), reference[cut].copy()),
    )
    assert found.boxes == copied.boxes and np.array_equal(found.table, copied.table)


def test_more_values_than_a_byte_holds_are_counted_too() -> None:
    rng = np.random.default_rng(4)
    prediction, reference = (rng.integers(0, 400, (7, 20, 30)) * 5 for _ in range(2))
    found = joint_counts(prediction, reference)
    assert found.values == tuple(np.unique([prediction, reference]))
    pairs, counts = np.unique(
        np.stack([reference.ravel(), prediction.ravel()]) // 5, axis=1, return_counts=True
    )
    expected = np.zeros((400, 400))
    expected[tuple(pairs)] = counts
    assert np.array_equal(found.table, expected)
    places = np.argwhere((reference == 995) | (prediction == 995))
    assert [(side.start, side.stop) for side in found.boxes[995]] == list(
        zip(places.min(axis=0), places.max(axis=0) + 1, strict=True)
    )


def test_instances_are_no_labels() -> None:
    instances = np.arange(20 * 20 * 20).reshape(20, 20, 20)
    with pytest.raises(EvaluationError, match="8000 different values"):
        joint_counts(instances, instances)
