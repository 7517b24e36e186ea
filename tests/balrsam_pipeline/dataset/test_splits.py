"""Folds are nnU-Net's; a patient never straddles them; malformed files are named."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold

from balrsam_pipeline.dataset import Fold, make_folds, read_folds, read_groups, write_folds
from balrsam_pipeline.dataset.splits import require_validated_once, write_groups
from balrsam_pipeline.errors import DatasetError


@pytest.mark.parametrize("count", [5, 6, 20, 99, 200])
def test_folds_equal_those_of_sklearn_which_nnunet_uses(count: int) -> None:
    cases = [f"case_{index}" for index in range(count)]  # case_10 sorts before case_2
    names = np.array(sorted(cases))
    expected = [
        Fold(tuple(names[train].tolist()), tuple(names[val].tolist()))
        for train, val in KFold(n_splits=5, shuffle=True, random_state=12345).split(names)
    ]
    assert list(make_folds(cases[::-1])) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=40).filter(lambda groups: len(set(groups)) > 1))
def test_a_group_never_straddles_folds_and_every_case_is_validated_once(numbers: list[int]) -> None:
    groups = {f"case{index:02d}": f"patient{number}" for index, number in enumerate(numbers)}
    folds = make_folds(tuple(groups), groups)
    assert sorted(case for fold in folds for case in fold.val) == sorted(groups)
    for fold in folds:
        assert sorted((*fold.train, *fold.val)) == sorted(groups)
        assert not {groups[case] for case in fold.train} & {groups[case] for case in fold.val}


def test_few_cases_make_few_folds_and_one_makes_none() -> None:
    assert len(make_folds(["a", "b", "c"])) == 3
    with pytest.raises(DatasetError, match="at least 2"):
        make_folds(["a"])


def test_folds_survive_their_file(tmp_path: Path) -> None:
    folds = make_folds([f"c{index}" for index in range(11)])
    write_folds(tmp_path / "splits_final.json", folds)
    assert read_folds(tmp_path / "splits_final.json") == folds
    assert set(json.loads((tmp_path / "splits_final.json").read_text())[0]) == {"train", "val"}


def test_folds_that_validate_a_case_twice_are_not_pooled_and_those_apart_are(tmp_path: Path) -> None:
    names = ("a", "b", "c", "d")
    folds = [
        Fold(train=tuple(name for name in names if name not in val), val=val)
        for val in (("a", "b"), ("c", "d"), ("b", "c"))
    ]
    path = tmp_path / "splits.json"
    require_validated_once(path, folds, (0, 1))
    require_validated_once(path, folds, (2,))
    with pytest.raises(DatasetError, match=r"(?s)b in folds 0 2; c in folds 1 2.*--folds 0 1"):
        require_validated_once(path, folds, (0, 1, 2))


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        '[{"train": ["a"]}]',
        '[{"train": ["a"], "val": []}]',
        '[{"train": ["a"], "val": ["a"]}]',
        '[{"train": [1], "val": ["b"]}]',
    ],
)
def test_a_malformed_splits_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "splits_final.json").write_text(content)
    with pytest.raises(DatasetError, match=r"splits_final\.json"):
        read_folds(tmp_path / "splits_final.json")


def test_groups_are_read_with_or_without_heading(tmp_path: Path) -> None:
    for text in ("case,group\na,p1\nb,p1\n", "a, p1\nb ,p1\n\n", "\ufeffcase,group\r\na,p1\r\nb,p1"):
        (tmp_path / "groups.csv").write_text(text, encoding="utf-8")
        assert read_groups(tmp_path / "groups.csv") == {"a": "p1", "b": "p1"}


def test_groups_of_any_names_are_read_as_they_were_written_and_are_no_formulas(tmp_path: Path) -> None:
    names = ("a", "b,x_1", 'c"d"', '=HYPERLINK("x")', "'=1", "-1", "@x", "+1", "'plain", "ü x", "e\nf")
    groups = dict(zip(names, reversed(names), strict=True))
    write_groups(tmp_path / "groups.csv", groups)
    assert read_groups(tmp_path / "groups.csv") == groups
    with (tmp_path / "groups.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) == 2 * (1 + len(names)) and not any(cell[0] in "=+-@" for cell in cells)


@pytest.mark.parametrize("text", ["a\n", "a,p1,x\n", "a,p1\na,p2\n", "a,\n"])
def test_malformed_groups_are_named_with_their_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(DatasetError, match="line"):
        read_groups(tmp_path / "groups.csv")
