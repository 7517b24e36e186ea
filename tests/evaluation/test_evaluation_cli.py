"""`balrsam evaluate` and `balrsam compare` as users call them."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.cli import main


def test_folders_without_a_dataset_json_are_scored_by_the_values_found(
    folder_pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *map(str, folder_pair), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "4 cases" in out and "report.html" in out
    assert {path.name for path in (folder_pair[0] / "evaluation").iterdir()} == {
        "summary.json",
        "per_case.csv",
        "report.html",
    }
    assert set(json.loads((folder_pair[0] / "evaluation" / "summary.json").read_text())["mean"]) == {"1", "2"}


def test_nnunets_dataset_json_in_the_folder_of_predictions_names_the_labels(
    folder_pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    description = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "regions_class_order": [1, 2],
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    (folder_pair[0] / "dataset.json").write_text(json.dumps(description))
    assert main(["evaluate", *map(str, folder_pair), "--workers", "1", "--tolerance", "1", "2.5"]) == 0
    assert "whole" in capsys.readouterr().out
    summary = json.loads((folder_pair[0] / "evaluation" / "summary.json").read_text())
    assert set(summary["mean"]) == {"(1, 2)", "2"}
    assert "NSD@2.5" in summary["foreground_mean"]


def test_two_files_are_scored_whatever_they_are_called(
    folder_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    files = [str(folder_pair[0] / "case_0.nii.gz"), str(folder_pair[1] / "case_1.nii.gz")]
    assert (
        main(["evaluate", *files, "--output", str(tmp_path / "out"), "--metrics", "overlap", "detection"])
        == 0
    )
    assert "LesionF1" in json.loads((tmp_path / "out" / "summary.json").read_text())["foreground_mean"]


@pytest.mark.parametrize(
    "words",
    [
        ["--protocol", "mine"],
        ["--workers", "0"],
        ["--stratify", "x.csv"],
        ["--metrics", "speed"],
        ["--cases", "nobody"],
        ["--labels", "no.json"],
        ["--images", "nowhere"],
        ["--output", "/proc/nowhere"],
        ["--tolerance", "2", "--metrics", "overlap"],
    ],
    ids=lambda words: words[0],
)
def test_a_wrong_option_is_one_clear_message(
    folder_pair: tuple[Path, Path], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *map(str, folder_pair), *words]) == 2
    message = capsys.readouterr().err
    assert "found:" in message and "fix:" in message and "Traceback" not in message
    assert not (folder_pair[0] / "evaluation").exists(), "nothing half-written"


def test_an_odd_case_is_named_at_the_end_and_the_report_has_the_others(
    folder_pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder_pair[0] / "case_1.nii.gz").write_bytes(b"half a file")
    words = ["--workers", "1", "--output", str(tmp_path / "out"), "--metrics", "overlap", "detection"]
    assert main(["evaluate", *map(str, folder_pair), *words]) == 1, "some cases failed, as README has it"
    message = capsys.readouterr().err
    assert "case_1" in message and "found:" in message and "fix:" in message
    report = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert [case["case"] for case in report["metric_per_case"]] == ["case_0", "case_2", "case_3"]
    assert "case_1 was not scored" in report["balrsam"]["warnings"][0]


@pytest.mark.parametrize("name", ["per_case.csv", "report.html", "summary.json"])
def test_reports_that_are_not_ours_are_not_overwritten(
    folder_pair: tuple[Path, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A table of that name may be anybody's; what this command made it may make again."""
    own = tmp_path / "own" / name
    own.parent.mkdir()
    own.write_text("case,age\ncase_0,61\n")
    words = ["evaluate", *map(str, folder_pair), "--workers", "1", "--metrics", "overlap", "--output"]
    assert main([*words, str(own.parent)]) == 2
    assert "not made by this command" in capsys.readouterr().err
    assert own.read_text() == "case,age\ncase_0,61\n" and [*own.parent.iterdir()] == [own]
    for _ in range(2):
        assert main([*words, str(tmp_path / "ours")]) == 0


def test_reports_whose_table_a_spreadsheet_has_saved_are_ours(
    folder_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    words = ["evaluate", *map(str, folder_pair), "--workers", "1", "--metrics", "overlap", "--output"]
    assert main([*words, str(tmp_path / "ours")]) == 0
    table = tmp_path / "ours" / "per_case.csv"
    written = table.read_text()
    for spoil in (lambda: table.write_text(written.replace(",", ";")), table.unlink):
        spoil()
        assert main([*words, str(tmp_path / "ours")]) == 0
        assert table.read_text() == written


@pytest.mark.parametrize("name", ["comparison.csv", "comparison.html", "comparison.json"])
def test_comparisons_that_are_not_ours_are_not_overwritten(
    folder_pair: tuple[Path, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = str(tmp_path / "scores")
    words = ["--workers", "1", "--metrics", "overlap", "--output", scores]
    main(["evaluate", *map(str, folder_pair), *words])
    own = tmp_path / "own" / name
    own.parent.mkdir()
    own.write_text("metric,mine\n")
    assert main(["compare", scores, scores, "--output", str(own.parent)]) == 2
    assert "not made by this command" in capsys.readouterr().err
    assert own.read_text() == "metric,mine\n" and [*own.parent.iterdir()] == [own]
    for _ in range(2):
        assert main(["compare", scores, scores, "--output", str(tmp_path / "ours")]) == 0


def test_names_that_begin_like_formulas_are_text_in_tables(
    folder_pair: tuple[Path, Path], tmp_path: Path
) -> None:
    description = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "=HYPERLINK(1)": 1, "@b": 2},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    (folder_pair[0] / "dataset.json").write_text(json.dumps(description))
    for folder in folder_pair:
        for number, sign in enumerate("=+-@"):
            (folder / f"case_{number}.nii.gz").rename(folder / f"{sign}1.nii.gz")
    for name in "ab":
        main(["evaluate", *map(str, folder_pair), "--workers", "1", "--output", str(tmp_path / name)])
    words = ["--names", "=a", "+b", "--output", str(tmp_path / "c")]
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), *words]) == 0
    for path in (tmp_path / "a" / "per_case.csv", tmp_path / "c" / "comparison.csv"):
        with path.open(newline="") as lines:
            cells = {cell for line in csv.reader(lines) for cell in line}
        assert "'=HYPERLINK(1)" in cells and not [cell for cell in cells if cell[:1] in "=@" and cell]
        assert all(math.isfinite(float(cell)) for cell in cells if cell[:1] in "+-" and cell)


def test_two_evaluations_are_compared(
    folder_pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", *map(str, folder_pair), "--workers", "1", "--output", str(tmp_path / "a")])
    main(
        [
            "evaluate",
            str(folder_pair[1]),
            str(folder_pair[1]),
            "--workers",
            "1",
            "--output",
            str(tmp_path / "b"),
        ]
    )
    capsys.readouterr()
    assert (
        main(
            [
                "compare",
                str(tmp_path / "a"),
                str(tmp_path / "b"),
                "--names",
                "ours",
                "<script>truth",
                "--output",
                str(tmp_path / "c"),
            ]
        )
        == 0
    )
    assert "0:1:3" in capsys.readouterr().out
    page = (tmp_path / "c" / "comparison.html").read_text()
    assert "&lt;script&gt;truth" in page and "<script>truth" not in page
    rows = json.loads((tmp_path / "c" / "comparison.json").read_text())["rows"]
    assert {row["metric"] for row in rows} >= {"dice", "hd95", "nsd_1"}
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "nothing")]) == 2
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--output", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b" / "comparison.html").exists(), "no report among what it compares"


def test_the_real_pair_is_scored(test_data: Path, tmp_path: Path) -> None:
    folder = test_data / "multi_organ_ct"
    files = [str(folder / f"organs_small_model_{model}.nii.gz") for model in "ba"]
    assert (
        main(["evaluate", *files, "--output", str(tmp_path), "--images", str(folder / "ct_small.nii.gz")])
        == 0
    )
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert len(summary["mean"]) == 41
    dice = [metrics["Dice"] for metrics in summary["mean"].values()]
    assert summary["foreground_mean"]["Dice"] == pytest.approx(np.mean(dice)) and 0.85 < np.mean(dice) < 0.95
    assert summary["balrsam"]["status_counts"]["13"]["missed"] == 1


def test_a_file_and_a_folder_are_no_pair(
    folder_pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(folder_pair[0]), str(folder_pair[1] / "case_0.nii.gz")]) == 2
    assert "a file and a folder" in capsys.readouterr().err
    assert main(["evaluate", str(folder_pair[0]), str(folder_pair[1] / "nothing")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
