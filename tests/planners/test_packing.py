"""Which small cases share a file, and that neither their order nor an interruption shows in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.stored import LABELS, make_case

from balrsam_pipeline.layout import pack_paths
from balrsam_pipeline.preprocessing import CaseStore, PackEntry, pack_case, packs
from planners.packing import Packs

RECIPES = {name: f"recipe of {name}" for name in "abcde"}


@pytest.fixture(autouse=True)
def two_cases_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "CASES", 2)


def entry(store: Path, case: str) -> PackEntry:
    return pack_case(store, case, make_case((1, 6, 7)), LABELS, RECIPES[case])


def fill(store: Path, order: str, expected: str = "abcde") -> dict[str, bytes]:
    """Do the cases in that order; the packs that are there then."""
    packing = Packs(store, RECIPES)
    packing.expect(expected)
    for case in order:
        packing.done(case, entry(store, case))
    return {path.name: path.read_bytes() for path in pack_paths(store)}


def test_cases_belong_to_packs_by_their_place_and_the_order_of_work_does_not_show(tmp_path: Path) -> None:
    packed = fill(tmp_path / "one", "abcde")
    assert len(packed) == 3
    assert fill(tmp_path / "other", "ecadb") == packed
    assert CaseStore(tmp_path / "other").cases == tuple("abcde")


def test_a_pack_is_written_with_its_last_case_and_a_second_run_fills_in_the_others(tmp_path: Path) -> None:
    assert len(fill(tmp_path / "killed", "abc")) == 1  # c waits for d
    assert fill(tmp_path / "killed", "cde", "cde") == fill(tmp_path / "whole", "abcde")


def test_a_case_that_fails_leaves_its_pack_to_the_other(tmp_path: Path) -> None:
    packing = Packs(tmp_path, RECIPES)
    packing.expect("ab")
    packing.done("a", None)
    packing.done("b", entry(tmp_path, "b"))
    assert CaseStore(tmp_path).cases == ("b",)


def test_what_was_made_otherwise_or_of_no_case_any_more_is_taken_out(tmp_path: Path) -> None:
    fill(tmp_path, "abcde")
    Packs(tmp_path, {"a": RECIPES["a"], "b": "another recipe", "c": RECIPES["c"]}).remove_outdated()
    assert CaseStore(tmp_path).cases == ("a", "c")
    assert len(pack_paths(tmp_path)) == 2
