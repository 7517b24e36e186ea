"""A summary as tables of pandas: the same numbers, one row per case and label, or one per case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from balrsam_pipeline.dataset.labels import LabelScheme
from evaluation import EvaluationOptions, Summary, evaluate_folders, pool


@pytest.fixture
def summary(folder_pair: tuple[Path, Path], make_scheme: Callable[..., LabelScheme]) -> Summary:
    labels = make_scheme({"organ": 1, "lesion": 2})
    return evaluate_folders(
        *folder_pair, labels, ".nii.gz", EvaluationOptions(metrics=("overlap", "surface"))
    )


def test_a_summarys_frame_has_one_row_per_case_and_label_and_nan_where_undefined(summary: Summary) -> None:
    frame = summary.to_frame()
    assert list(zip(frame["case"], frame["label"], strict=True)) == [(r.case, r.label) for r in summary.rows]
    assert frame[list(summary.metrics)].dtypes.unique().tolist() == [np.dtype("float64")]
    missed = frame[(frame["case"] == "case_2") & (frame["label"] == "lesion")].iloc[0]
    assert missed["status"] == "missed" and missed["dice"] == 0 and np.isnan(missed["hd95"])
    assert "group" not in frame and set(pool([summary]).to_frame()["group"]) == {"fold 0"}


def test_per_case_is_the_mean_over_labels_as_the_protocol_counts_them(summary: Summary) -> None:
    expected = summary.to_frame().groupby("case")["dice"].mean()  # of Dice, no label is undefined here
    pd.testing.assert_series_equal(summary.per_case["dice"], expected)
    organ = next(row.values["hd95"] for row in summary.rows if (row.case, row.label) == ("case_2", "organ"))
    diagonal = np.hypot.reduce([12 * 2.0, 20 * 0.8, 20 * 0.8])  # what the missed lesion counts as
    assert summary.per_case["hd95"]["case_2"] == pytest.approx((organ + diagonal) / 2)
