"""The full matrix: what each protocol makes of each kind of empty mask, case by case and in headlines."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from balrsam_pipeline.dataset.labels import LabelScheme
from evaluation import PROTOCOLS, EvaluationOptions, LabelScore, Summary, score_pair
from evaluation.metrics.registry import metric_of
from evaluation.summary import PairPaths, counted_value

SHAPE, SPACING = (4, 10, 10), (2.0, 1.0, 1.0)
DIAGONAL = math.sqrt(8**2 + 10**2 + 10**2)
MASKS = {"absent": (False, False), "missed": (False, True), "spurious": (True, False), "scored": (True, True)}
# protocol -> status -> what Dice and HD95 count as in means; None: left out
COUNTED: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "default": {"absent": (None, None), "missed": (0.0, DIAGONAL), "spurious": (0.0, DIAGONAL)},
    "transunet": {"absent": (0.0, 0.0), "missed": (0.0, 0.0), "spurious": (1.0, 0.0)},
    "brats": {"absent": (1.0, 0.0), "missed": (0.0, 373.1287), "spurious": (0.0, 373.1287)},
    "exclude": {"absent": (None, None), "missed": (0.0, None), "spurious": (0.0, None)},
}


def case(status: str, protocol: str, make_scheme: Callable[..., LabelScheme]) -> LabelScore:
    prediction, reference = (np.zeros(SHAPE, dtype=np.uint8) for _ in range(2))
    prediction[1:3, 2:5, 2:5], reference[1:3, 2:5, 2:6] = MASKS[status]
    (score,) = score_pair(
        status, prediction, reference, SPACING, make_scheme({"x": 1}), EvaluationOptions(protocol=protocol)
    )
    return score


def summary_of(rows: list[LabelScore], protocol: str) -> Summary:
    return Summary(
        labels={"x": "1"},
        rows=tuple(replace(row, case=str(number)) for number, row in enumerate(rows)),
        options=EvaluationOptions(protocol=protocol),
        unit="mm",
        files={str(number): PairPaths(prediction=None, reference="") for number in range(len(rows))},
    )


@pytest.mark.parametrize("status", list(MASKS))
@pytest.mark.parametrize("protocol", list(PROTOCOLS))
def test_each_protocol_counts_each_kind_of_empty_mask_as_it_says(
    protocol: str, status: str, make_scheme: Callable[..., LabelScheme]
) -> None:
    score = case(status, protocol, make_scheme)
    assert score.status == status
    counted = [counted_value(score, metric_of(key), PROTOCOLS[protocol]) for key in ("dice", "hd95")]
    if status == "scored":
        assert counted == [
            score.values["dice"],
            score.values["hd95_pooled" if protocol == "transunet" else "hd95"],
        ]
    else:
        assert tuple(counted) == pytest.approx(COUNTED[protocol][status])
        assert score.values["hd95"] is None, "the row keeps the truth"


@pytest.mark.parametrize("protocol", list(PROTOCOLS))
@pytest.mark.parametrize("first", list(MASKS))
@pytest.mark.parametrize("second", list(MASKS))
def test_a_headline_is_never_not_a_number(
    protocol: str, first: str, second: str, make_scheme: Callable[..., LabelScheme]
) -> None:
    summary = summary_of([case(status, protocol, make_scheme) for status in (first, second)], protocol)
    for key, value in summary.foreground_mean.items():
        assert value is None or math.isfinite(value), key
    dice, hd95 = summary.foreground_mean["dice"], summary.foreground_mean["hd95"]
    nothing = {first, second} <= {"absent"} and protocol in ("default", "exclude")
    assert (dice is None) == nothing
    if protocol != "exclude":
        assert (hd95 is None) == nothing
    aggregate = summary.per_label["x"]["dice"]
    assert aggregate.count + aggregate.left_out == 2


def test_a_missed_organ_lowers_the_default_headline_instead_of_vanishing(
    make_scheme: Callable[..., LabelScheme],
) -> None:
    alone = summary_of([case("scored", "default", make_scheme)], "default")
    with_miss = summary_of(
        [case(status, "default", make_scheme) for status in ("scored", "missed")], "default"
    )
    assert with_miss.foreground_mean["dice"] == pytest.approx((alone.foreground_mean["dice"] or 0) / 2)
    assert with_miss.foreground_mean["hd95"] == pytest.approx(
        ((alone.foreground_mean["hd95"] or 0) + DIAGONAL) / 2
    )


def test_transunet_distances_are_in_voxels(make_scheme: Callable[..., LabelScheme]) -> None:
    label = np.zeros((9, 9, 9), dtype=np.uint8)
    label[2] = 1
    (score,) = score_pair(
        "case",
        np.roll(label, 3, axis=0),
        label,
        (5.0, 1.0, 1.0),
        make_scheme({"x": 1}),
        EvaluationOptions(protocol="transunet"),
    )
    assert score.values["hd95_pooled"] == 3.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"protocol": "mine"},
        {"metrics": ("speed",)},
        {"tolerances_mm": (-1.0,)},
        {"tolerances_mm": (math.nan,)},
        {"workers": 0},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    from balrsam_pipeline.errors import EvaluationError

    with pytest.raises(EvaluationError):
        EvaluationOptions(**wrong)  # type: ignore[arg-type]
