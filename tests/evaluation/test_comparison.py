"""Comparing two evaluations, and splitting one by a property of its cases."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.terminal import painted
from evaluation import EvaluationOptions, LabelScore, Summary
from evaluation.comparison import OVERALL, compare
from evaluation.metrics.score_case import Counts
from evaluation.reports.html.comparison_page import comparison_page
from evaluation.reports.nnunet_summary import from_nnunet
from evaluation.reports.strata import UNKNOWN, by_stratum, read_strata
from evaluation.reports.tables import comparison_table, summary_table
from evaluation.summary import PairPaths

EXCLUDE = EvaluationOptions(metrics=("overlap",), protocol="exclude")
COUNTS = Counts(true_positives=1, false_positives=1, false_negatives=1, true_negatives=1)


def summary(dice: np.ndarray, labels: tuple[str, ...] = ("a", "b")) -> Summary:
    """A summary from an array (cases, labels) of Dice values."""
    rows = [
        LabelScore(
            case=f"c{case:02}",
            label=label,
            status="scored",
            counts=COUNTS,
            values={"dice": float(dice[case, number])},
            diagonal=1,
            voxel_mm3=1,
        )
        for case in range(len(dice))
        for number, label in enumerate(labels)
    ]
    files = {row.case: PairPaths(prediction="p", reference="r") for row in rows}
    keys = {label: str(number) for number, label in enumerate(labels, 1)}
    return Summary(
        labels=keys, rows=tuple(rows), options=EvaluationOptions(metrics=("overlap",)), unit="mm", files=files
    )


def test_the_better_model_is_named_on_the_labels_where_it_is_better_and_nowhere_else() -> None:
    rng = np.random.default_rng(0)
    first = rng.random((30, 2)) * 0.2 + 0.6
    second = first + np.stack([rng.normal(0.1, 0.01, 30), rng.normal(0, 0.01, 30)], axis=1)
    comparison = compare(summary(first), summary(second), ("old", "new"))
    assert comparison.row("dice", "a").verdict == "B"
    assert comparison.row("dice", "b").verdict == "no clear difference"
    assert comparison.row("dice").label == OVERALL and comparison.row("dice").verdict == "B"
    swapped = compare(summary(second), summary(first))
    assert swapped.row("dice", "a").verdict == "A"
    assert swapped.row("dice", "a").test.p_value == comparison.row("dice", "a").test.p_value


def test_labels_are_matched_by_value_not_by_name() -> None:
    values = np.random.default_rng(1).random((5, 2))
    comparison = compare(summary(values), summary(values, ("liver", "spleen")))
    assert [row.label for row in comparison.rows] == [OVERALL, "a", "b"]
    assert all(row.test.ties == 5 for row in comparison.rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda other: replace(other, rows=other.rows[2:]), "c00"),
        (
            lambda other: replace(other, options=EvaluationOptions(metrics=("overlap",), protocol="brats")),
            "protocol",
        ),
        (lambda other: replace(other, labels={"a": "8", "b": "7"}), "labels"),
    ],
    ids=["cases", "protocol", "labels"],
)
def test_what_was_not_scored_alike_is_not_compared(
    change: Callable[[Summary], Summary], message: str
) -> None:
    one = summary(np.random.default_rng(1).random((5, 2)))
    with pytest.raises(EvaluationError, match=message):
        compare(one, change(one))


def test_labels_of_one_model_alone_are_named_and_left_out_of_all_means() -> None:
    values = np.random.default_rng(2).random((6, 3))
    first = summary(values, ("liver", "spleen", "gut"))
    second = replace(summary(values[:, :2] + 0.1, ("liver", "milt")), labels={"liver": "1", "milt": "2"})
    comparison = compare(first, second, ("ours", "theirs"))
    assert (comparison.only_a, comparison.only_b) == (("gut",), ())
    assert comparison.renamed == (("spleen", "milt"),)
    row = comparison.row("dice")
    assert row.mean_a == pytest.approx(values[:, :2].mean())
    assert row.mean_b == pytest.approx(values[:, :2].mean() + 0.1)
    back = compare(second, first, ("theirs", "ours"))
    assert back.only_b == ("gut",) and back.row("dice").mean_b == pytest.approx(row.mean_a)
    table = comparison_table(comparison)
    assert "Labels of ours alone, in no mean and no test: gut." in table
    assert "gut" in comparison_page(comparison, first, second)


@pytest.mark.parametrize("count", [1, 30])
def test_a_comparison_fits_80_columns_and_counts_cases_in_english(count: int) -> None:
    rng = np.random.default_rng(3)
    names = ("left_atrial_appendage_of_the_heart", "b")
    first, second = (summary(rng.random((count, 2)), names) for _ in range(2))
    table = comparison_table(compare(first, second, ("one", "two")))
    assert max(map(len, table.splitlines())) <= 80
    assert ("1 case" if count == 1 else "30 cases") in table.splitlines()


def test_a_table_is_painted_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    first = rng.random((30, 2)) * 0.1
    table = comparison_table(compare(summary(first), summary(first + 0.1)))
    assert painted(table) == table
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in painted(table)
    assert re.sub(r"\x1b\[[0-9;]*m", "", painted(table)) == table
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", painted(table)), "bold and dim are no colours"


def test_of_a_score_table_header_and_mean_stand_out(monkeypatch: pytest.MonkeyPatch) -> None:
    table = summary_table(summary(np.full((3, 2), 0.5), ("liver", "spleen")))
    monkeypatch.setattr("sys.stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    plain = [line for line in painted(table).split("\n") if "\x1b" not in line]
    assert [line.split()[0] for line in plain] == ["liver", "spleen", "3"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ABSENT, SPURIOUS = (
    Counts(true_positives=0, false_positives=voxels, false_negatives=0, true_negatives=9) for voxels in (0, 4)
)


def repainted(one: Summary, changes: dict[tuple[str, str], Counts]) -> Summary:
    """The summary with other counts of some (case, label): absent or spurious ones."""
    rows = [
        replace(
            row,
            status=changes[row.case, row.label].status,
            counts=changes[row.case, row.label],
            values={"dice": None if changes[row.case, row.label] == ABSENT else 0.0},
        )
        if (row.case, row.label) in changes
        else row
        for row in one.rows
    ]
    return replace(one, rows=tuple(rows))


def test_absent_against_spurious_is_a_win_in_means_difference_and_test() -> None:
    base = summary(np.full((20, 1), 0.8), labels=("lesion",))
    free = [(f"c{case:02}", "lesion") for case in range(6, 20)]
    right = repainted(base, dict.fromkeys(free, ABSENT))
    painter = repainted(base, dict.fromkeys(free, SPURIOUS))
    row = compare(right, painter).row("dice", "lesion")
    assert row.mean_a == pytest.approx((6 * 0.8 + 14) / 20) and row.mean_b == pytest.approx(6 * 0.8 / 20)
    assert row.test.difference == pytest.approx(row.mean_a - row.mean_b) and row.left_out == 0
    assert (row.test.first_wins, row.test.ties, row.verdict) == (14, 6, "A")
    assert compare(painter, right).row("dice", "lesion").verdict == "B"


def test_every_label_of_a_case_counts_for_both_models_or_for_neither() -> None:
    base = summary(np.full((5, 2), 0.5))
    absent = dict.fromkeys([(f"c{case:02}", "b") for case in range(5)], ABSENT)
    row = compare(repainted(base, absent), repainted(base, absent | {("c00", "b"): SPURIOUS})).row("dice")
    assert row.mean_a == pytest.approx((4 * 0.5 + (0.5 + 1) / 2) / 5)
    assert row.mean_b == pytest.approx((4 * 0.5 + (0.5 + 0) / 2) / 5)


def test_cases_with_a_value_in_one_summary_alone_are_left_out_of_both_and_counted() -> None:
    base = summary(np.linspace(0.2, 0.9, 8)[:, None], labels=("lesion",))
    gone = replace(base.rows[0], status="missed", values={"dice": None})
    row = compare(replace(base, rows=(gone, *base.rows[1:]), options=EXCLUDE), replace(base, options=EXCLUDE))
    row = row.row("dice", "lesion")
    assert row.test.pairs == 8, "a missed label counts as Dice 0"
    precise = [
        replace(one, rows=tuple(replace(r, values={"precision": r.values["dice"]}) for r in one.rows))
        for one in (replace(base, rows=(gone, *base.rows[1:])), base)
    ]
    row = compare(*precise).row("precision", "lesion")
    assert row.left_out == 1 and row.mean_a == row.mean_b == pytest.approx(
        np.linspace(0.2, 0.9, 8)[1:].mean()
    )


@pytest.mark.parametrize("wanted", [["hd95"], ["dice", "hd95"]])
def test_an_unknown_metric_is_refused(wanted: list[str]) -> None:
    one = summary(np.random.default_rng(1).random((5, 2)))
    with pytest.raises(EvaluationError, match="hd95"):
        compare(one, one, metrics=wanted)


def nnunets(dice: dict[str, int], ending: str = ".nii.gz") -> Summary:
    """What nnU-Net's summary says of cases with so many hits among 10 voxels of either mask."""
    entries = [
        {
            "reference_file": f"truth/{case}{ending}",
            "prediction_file": f"predicted/{case}{ending}",
            "metrics": {"1": {"TP": hits, "FP": 10 - hits, "FN": 10 - hits, "TN": 70}},
        }
        for case, hits in dice.items()
    ]
    return from_nnunet({"mean": {"1": {}}, "metric_per_case": entries})


def test_cases_of_nnunets_summary_are_in_the_order_of_their_names_not_of_their_files() -> None:
    """A hyphen comes before the dot of the file's ending, so that p1-2.nii.gz comes before p1.nii.gz."""
    assert nnunets({"p1-2": 5, "p1": 9}).cases == ("p1", "p1-2")


def test_a_case_is_compared_with_itself_whatever_the_order_of_the_cases() -> None:
    first = summary(np.array([[0.2], [0.9], [0.5]]), labels=("lesion",))
    second = replace(first, rows=first.rows[::-1])
    row = compare(first, second).row("dice", "lesion")
    assert row.test.ties == 3
    page = comparison_page(compare(first, second), first, second)
    assert page.count("<td>tie</td>") == 3


def test_regions_of_nnunets_summary_are_those_of_ours_however_they_are_written() -> None:
    """nnU-Net's keys are `str` of a region as dataset.json has it; a region of one label is a tuple too."""
    numbers = {"TP": 8, "FP": 2, "FN": 2, "TN": 88}
    regions = [(1, 2, 3), (3, 1), (3,), 2]
    entry = {"reference_file": "truth/a.nii.gz", "prediction_file": "predicted/a.nii.gz"}
    keys = {str(region): numbers for region in regions}
    theirs = from_nnunet({"mean": keys, "metric_per_case": [entry | {"metrics": keys}]})
    assert tuple(theirs.labels.values()) == ("(1, 2, 3)", "(1, 3)", "3", "2")
    assert [row.counts.true_positives for row in theirs.rows] == [8] * 4


def test_nnunets_summary_of_pictures_is_compared_by_overlap_whatever_the_unit_of_distances() -> None:
    theirs = nnunets({"a": 8, "b": 6}, ".png")
    ours = replace(theirs, unit="px")
    assert compare(ours, theirs).row("dice", "1").test.ties == 2


@pytest.mark.parametrize("key", ["hd95", "nsd_1"])
def test_lengths_in_other_units_are_not_compared(key: str) -> None:
    one = summary(np.full((3, 1), 0.5), labels=("lesion",))
    one = replace(one, rows=tuple(replace(row, values={"dice": 0.5, key: 0.5}) for row in one.rows))
    with pytest.raises(EvaluationError, match="px"):
        compare(one, replace(one, unit="px"))


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_strata_are_the_groups_of_a_column_and_cases_without_a_row_form_one(tmp_path: Path) -> None:
    one = summary(np.arange(8).reshape(4, 2) / 8)
    strata = read_strata(
        table(tmp_path / "s.csv", "case,site\nc00,A\nc01,B\nc02,A\nc99,C\n"), "site", one.cases
    )
    parts = by_stratum(one, strata)
    assert {name: part.cases for name, part in parts.items()} == {
        "A": ("c00", "c02"),
        "B": ("c01",),
        UNKNOWN: ("c03",),
    }
    assert parts["A"].foreground_mean["dice"] == pytest.approx((0 + 1 + 4 + 5) / 4 / 8)


def test_a_column_of_many_numbers_is_cut_into_quarters(tmp_path: Path) -> None:
    one = summary(np.zeros((20, 2)))
    rows = "\n".join(f"c{number:02},{number}" for number in range(20))
    parts = by_stratum(one, read_strata(table(tmp_path / "s.csv", f"case,age\n{rows}\n"), "age", one.cases))
    assert [len(part.cases) for part in parts.values()] == [5, 5, 5, 5]
    assert next(iter(parts)).startswith("0 to ")


def test_quarters_whose_limits_are_alike_in_six_digits_stay_apart(tmp_path: Path) -> None:
    one = summary(np.zeros((20, 2)))
    rows = "\n".join(f"c{number:02},{20250100 + number}" for number in range(20))
    parts = by_stratum(one, read_strata(table(tmp_path / "s.csv", f"case,date\n{rows}\n"), "date", one.cases))
    assert [len(part.cases) for part in parts.values()] == [5, 5, 5, 5]
    assert next(iter(parts)) == "20250100 to 20250105"


@pytest.mark.parametrize("word", ["NA", "nan", "inf", "unknown"])
def test_a_cell_without_a_number_leaves_the_quarters_of_the_others(tmp_path: Path, word: str) -> None:
    one = summary(np.zeros((21, 2)))
    rows = "\n".join(f"c{number:02},{word if number == 20 else number}" for number in range(21))
    parts = by_stratum(one, read_strata(table(tmp_path / "s.csv", f"case,age\n{rows}\n"), "age", one.cases))
    assert [len(part.cases) for part in parts.values()] == [5, 5, 5, 5, 1]
    assert parts[UNKNOWN].cases == ("c20",)


def test_a_case_in_two_groups_is_refused_and_one_twice_in_the_same_is_not(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="case c00 in group 'A' and in group 'B'"):
        read_strata(table(tmp_path / "s.csv", "case,site\nc00,A\nc00,B\n"), "site", ("c00",))
    twice = read_strata(table(tmp_path / "t.csv", "case,site\nc00,A\nc00,A\n"), "site", ("c00",))
    assert twice.groups == {"c00": "A"}
    table_of_visits = table(tmp_path / "v.csv", "case,site\nc00,A\nc01,A\nc01,B\n")
    assert read_strata(table_of_visits, "site", ("c00",)).groups == {"c00": "A"}  # c01 is not scored


@pytest.mark.parametrize(("mark", "name"), [(";", "semicolons"), ("\t", "tabs")])
def test_a_table_with_other_separators_is_told_as_that(tmp_path: Path, mark: str, name: str) -> None:
    with pytest.raises(EvaluationError, match=name) as refused:
        read_strata(table(tmp_path / "s.csv", f"case{mark}site\nc00{mark}A\n"), "site", ("c00",))
    assert refused.value.fix == "save it with commas"


def test_words_among_few_numbers_are_groups_and_come_last(tmp_path: Path) -> None:
    one = summary(np.zeros((4, 2)))
    text = "case,field\nc00,3\nc01,nan\nc02,1.5\nc03,low\n"
    parts = by_stratum(one, read_strata(table(tmp_path / "s.csv", text), "field", one.cases))
    assert list(parts) == ["1.5", "3", "low", "nan"]


@pytest.mark.parametrize(
    ("text", "column"),
    [("case,site\nc00,A\n", "age"), ("site\nA\n", "site"), ("case,site\nx,A\n", "site"), ("", "site")],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, column: str) -> None:
    with pytest.raises(EvaluationError):
        read_strata(table(tmp_path / "s.csv", text), column, ("c00",))
    with pytest.raises(EvaluationError):
        read_strata(tmp_path / "none.csv", column, ("c00",))
