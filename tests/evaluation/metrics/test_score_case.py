"""One case scored: overlap by definition, regions, the ignore label, 2D, and empty masks told apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from evaluation import EvaluationOptions, score_pair
from evaluation.metrics.surface_distance import surface_metrics

Make = Callable[..., LabelScheme]
SPACING = (2.0, 0.5, 0.5)
THREE = LabelScheme(
    names=("a", "b", "c"),
    values=((1,), (2,), (3,)),
    has_regions=False,
    region_order=(),
    ignore_value=None,
    largest=3,
)


@settings(max_examples=80, deadline=None)
@given(pair=st.tuples(*[arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 3))] * 2))
def test_overlap_is_what_sets_of_voxels_give(pair: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, reference = pair
    for score, value in zip(
        score_pair("case", prediction, reference, SPACING, THREE, EvaluationOptions()), (1, 2, 3), strict=True
    ):
        guess, truth = (set(map(tuple, np.argwhere(label == value))) for label in pair)
        both, either = guess & truth, guess | truth
        assert score.values["dice"] == (2 * len(both) / (len(guess) + len(truth)) if either else None)
        assert score.values["iou"] == (len(both) / len(either) if either else None)
        assert score.values["precision"] == (len(both) / len(guess) if guess else None)
        assert score.values["recall"] == (len(both) / len(truth) if truth else None)
        assert score.values["volume_difference"] == (
            pytest.approx((len(guess) - len(truth)) / len(truth)) if truth else None
        )
        assert score.counts.true_negatives == prediction.size - len(either)
        expected = {
            (True, True): "scored",
            (True, False): "spurious",
            (False, True): "missed",
            (False, False): "absent",
        }
        assert score.status == expected[bool(guess), bool(truth)]
        if guess and truth:
            alone = surface_metrics(prediction == value, reference == value, SPACING)
            assert {key: score.values[key] for key in alone} == pytest.approx(alone)
        else:
            assert {score.values[key] for key in ("hd95", "hd", "assd", "hd95_pooled", "nsd_1")} == {None}


def test_a_region_is_scored_as_the_union_of_its_values(make_scheme: Make) -> None:
    rng = np.random.default_rng(2)
    prediction, reference = (rng.integers(0, 4, (4, 6, 6)).astype(np.uint8) for _ in range(2))
    whole, core = score_pair(
        "case",
        prediction,
        reference,
        SPACING,
        make_scheme({"whole": (1, 2, 3), "core": (2, 3)}),
        EvaluationOptions(),
    )
    one = make_scheme({"x": 1})
    for found, values in ((whole, (1, 2, 3)), (core, (2, 3))):
        masks = [np.isin(label, values).astype(np.uint8) for label in (prediction, reference)]
        (expected,) = score_pair("case", *masks, SPACING, one, EvaluationOptions())
        assert found.counts == expected.counts and found.values == pytest.approx(expected.values)


def test_ignored_voxels_take_part_in_nothing(make_scheme: Make) -> None:
    rng = np.random.default_rng(4)
    prediction, reference = (rng.integers(0, 3, (5, 6, 7)).astype(np.uint8) for _ in range(2))
    reference[:, :2] = 9
    (found,) = score_pair(
        "case", prediction, reference, SPACING, make_scheme({"b": 2}, ignore_value=9), EvaluationOptions()
    )
    masks = [((label == 2) & (reference != 9)).astype(np.uint8) for label in (prediction, reference)]
    (expected,) = score_pair("case", *masks, SPACING, make_scheme({"x": 1}), EvaluationOptions())
    assert found.values == pytest.approx(expected.values)
    assert found.counts.true_negatives == expected.counts.true_negatives - int((reference == 9).sum())


def test_a_single_slice_is_scored_as_a_2d_image(make_scheme: Make) -> None:
    prediction, reference = np.zeros((1, 20, 20), dtype=np.uint8), np.zeros((1, 20, 20), dtype=np.uint8)
    reference[0, 2:12, 2:12], prediction[0, 2:12, 5:15] = 1, 1
    (score,) = score_pair(
        "case", prediction, reference, (1.0, 1.0, 1.0), make_scheme({"x": 1}), EvaluationOptions()
    )
    assert score.values["hd95"] == 3.0 and score.values["hd"] == 3.0
    assert score.diagonal == pytest.approx(np.hypot(20, 20))


def test_the_diagonal_bounds_every_distance(make_scheme: Make) -> None:
    prediction, reference = np.zeros((4, 5, 6), dtype=np.uint8), np.zeros((4, 5, 6), dtype=np.uint8)
    prediction[0, 0, 0] = reference[-1, -1, -1] = 1
    (score,) = score_pair("case", prediction, reference, SPACING, make_scheme({"x": 1}), EvaluationOptions())
    assert score.diagonal == pytest.approx(np.sqrt(8**2 + 2.5**2 + 3**2))
    hausdorff = score.values["hd"]
    assert (
        hausdorff is not None
        and hausdorff == pytest.approx(np.sqrt(6**2 + 2**2 + 2.5**2))
        and hausdorff < score.diagonal
    )


def test_metrics_that_were_not_asked_for_are_not_computed(make_scheme: Make) -> None:
    label = np.ones((2, 3, 3), dtype=np.uint8)
    (score,) = score_pair(
        "case", label, label, SPACING, make_scheme({"x": 1}), EvaluationOptions(metrics=("overlap",))
    )
    assert set(score.values) == {"dice", "iou", "precision", "recall", "volume_difference"}


@pytest.mark.parametrize(
    ("prediction", "found"),
    [
        (np.zeros((2, 3, 5), dtype=np.uint8), "shapes"),
        (np.zeros((3, 4), dtype=np.uint8), "shapes"),
        (np.full((2, 3, 4), 0.7), "a prediction of type float64"),
        (np.full((2, 3, 4), -1), "negative values in the prediction"),
    ],
    ids=["another shape", "two axes", "probabilities", "negative values"],
)
def test_arrays_that_are_no_label_maps_are_refused(prediction: np.ndarray, found: str) -> None:
    with pytest.raises(EvaluationError, match=found):
        score_pair(
            "case", prediction, np.zeros((2, 3, 4), dtype=np.uint8), SPACING, THREE, EvaluationOptions()
        )


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.uint16, np.int32, np.int64])
def test_the_type_and_order_in_memory_of_the_maps_change_nothing(dtype: type) -> None:
    rng = np.random.default_rng(0)
    prediction, reference = ((rng.random((5, 9, 70)) < 0.3).astype(np.uint8) for _ in range(2))
    expected = score_pair("case", prediction, reference, SPACING, THREE, EvaluationOptions())
    other = np.asfortranarray(prediction.astype(dtype)), reference.astype(dtype)[:, ::-1][:, ::-1]
    assert score_pair("case", *other, SPACING, THREE, EvaluationOptions()) == expected
