"""summary.json: nnU-Net's layout inside, complete enough to be read back, and never NaN."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from evaluation import EvaluationOptions, Summary, evaluate_folders, pool, read_summary, write_reports
from evaluation.reports import write
from evaluation.reports.summary_json import write_summary


@pytest.fixture
def summary(folder_pair: tuple[Path, Path], make_scheme: Callable[..., LabelScheme]) -> Summary:
    labels = make_scheme({"whole": (1, 2), "lesion": 2, "never": 7})
    options = EvaluationOptions(metrics=("overlap", "surface", "nsd", "detection"), tolerances_mm=(1.0, 2.5))
    return evaluate_folders(*folder_pair, labels, ".nii.gz", options)


def strict(text: str) -> Any:
    """JSON as the standard has it: no NaN, no Infinity."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_a_summary_is_read_back_as_it_was_written(summary: Summary, tmp_path: Path) -> None:
    write_summary(summary, tmp_path / "summary.json")
    again = read_summary(tmp_path)
    assert again == summary
    assert (
        again.foreground_mean == summary.foreground_mean
        and again.foreground_interval == summary.foreground_interval
    )
    pooled = pool([summary])
    write_summary(pooled, tmp_path / "pooled.json")
    assert read_summary(tmp_path / "pooled.json") == pooled


def test_nnunets_tools_find_what_they_look_for(summary: Summary, tmp_path: Path) -> None:
    write_summary(summary, tmp_path / "summary.json")
    value = strict((tmp_path / "summary.json").read_text())

    def label_of(key: str) -> int | tuple[int, ...]:  # what nnU-Net's key_to_label_or_region does
        try:
            return int(key)
        except ValueError:
            return tuple(int(part) for part in key.strip("()").split(","))

    assert [label_of(key) for key in value["mean"]] == [(1, 2), 2, 7]
    counts = {"Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref"}
    assert counts <= set(value["foreground_mean"]) and counts <= set(value["mean"]["2"])
    for case in value["metric_per_case"]:
        assert Path(case["reference_file"]).is_file() and Path(case["prediction_file"]).is_file()
        metrics = case["metrics"]["(1, 2)"]
        assert counts <= set(metrics)
        assert metrics["Dice"] == pytest.approx(
            2 * metrics["TP"] / (2 * metrics["TP"] + metrics["FP"] + metrics["FN"])
        )
        assert metrics["n_ref"] == metrics["TP"] + metrics["FN"]
    assert value["mean"]["7"]["Dice"] is None, (
        "a label that never occurs has no mean, and does not spoil the others"
    )
    assert value["foreground_mean"]["Dice"] is not None


def test_every_report_names_protocol_and_definitions(summary: Summary, tmp_path: Path) -> None:
    paths = write_reports(summary, tmp_path / "out")
    ours = strict(paths["summary.json"].read_text())["balrsam"]
    assert ours["protocol"]["id"] == "default/1"
    assert ours["definitions"]["HD95"]["id"] == "hd95-directed-percentile-max/1"
    page = paths["report.html"].read_text()
    assert "default/1" in page and "hd95-directed-percentile-max/1" in page


def test_definitions_are_those_of_what_the_protocol_counts(
    folder_pair: tuple[Path, Path], make_scheme: Callable[..., LabelScheme], tmp_path: Path
) -> None:
    """transunet pools both directions for the mean that is called HD95."""
    options = EvaluationOptions(protocol="transunet", metrics=("overlap", "surface"))
    scored = evaluate_folders(*folder_pair, make_scheme({"lesion": 1}), ".nii.gz", options)
    paths = write_reports(scored, tmp_path)
    ours = strict(paths["summary.json"].read_text())["balrsam"]
    assert ours["definitions"]["HD95"]["id"] == "hd95-pooled-medpy/1"
    assert "hd95-directed-percentile-max/1" not in paths["report.html"].read_text()


def test_the_csv_has_a_row_for_each_case_and_label_and_empty_cells_where_undefined(
    summary: Summary, tmp_path: Path
) -> None:
    frame = pd.read_csv(write_reports(summary, tmp_path)["per_case.csv"])
    assert len(frame) == 12 and set(frame["label"]) == {"whole", "lesion", "never"}
    missed = frame[(frame["case"] == "case_2") & (frame["label"] == "lesion")].iloc[0]
    assert (
        missed["status"] == "missed"
        and missed["dice"] == 0
        and pd.isna(missed["hd95"])
        and missed["image_diagonal"] > 0
    )
    assert missed["reference_ml"] == pytest.approx(missed["reference_voxels"] * 0.8 * 0.8 * 2.0 / 1000)


def test_a_table_written_in_pieces_is_the_table_written_at_once(
    summary: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write.write_csv(summary.to_frame(), tmp_path / "at_once.csv")
    monkeypatch.setattr(write, "ROWS_AT_ONCE", 5)  # of 12
    write.write_per_case(summary, tmp_path / "pieces.csv")
    assert (tmp_path / "pieces.csv").read_bytes() == (tmp_path / "at_once.csv").read_bytes()


def test_nnunets_own_summary_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    numbers = {"Dice": 0.5, "IoU": 1 / 3, "TP": 10, "FP": 10, "FN": 10, "TN": 70, "n_pred": 20, "n_ref": 20}
    gone = dict.fromkeys(numbers, 0) | {"Dice": float("nan"), "IoU": float("nan"), "TN": 100}
    cases = [
        {
            "reference_file": "/r/b.nii.gz",
            "prediction_file": "/p/b.nii.gz",
            "metrics": {"1": numbers, "2": gone},
        },
        {
            "reference_file": "/r/a.nii.gz",
            "prediction_file": "/p/a.nii.gz",
            "metrics": {"1": numbers, "2": numbers},
        },
    ]
    value = {"foreground_mean": numbers, "mean": {"1": numbers, "2": numbers}, "metric_per_case": cases}
    (tmp_path / "summary.json").write_text(json.dumps(value))
    summary = read_summary(tmp_path)
    assert summary.cases == ("a", "b") and summary.foreground_mean["dice"] == 0.5
    assert [row.status for row in summary.rows] == ["scored", "scored", "scored", "absent"]


@pytest.mark.parametrize(
    "text", ["{}", "[]", "nonsense", '{"balrsam": {"schema_version": 99}}', '{"balrsam": {}}', '{"mean": 3}']
)
def test_what_is_no_summary_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(EvaluationError):
        read_summary(tmp_path)
