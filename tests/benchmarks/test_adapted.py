"""The comparison of adapted and from scratch: both train on the same few cases, and only of the one fold."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from balrsam_pipeline.dataset import Fold

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy"


def test_of_one_fold_the_same_few_training_cases_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)  # as where the script is run
    fewer_cases = importlib.import_module("adapted").fewer_cases
    names = tuple(f"case_{number}" for number in range(9))
    folds = (Fold(train=names[3:], val=names[:3]), Fold(train=names[:6], val=names[6:]))
    chosen = fewer_cases(folds, 1, 2)
    assert chosen[0] == folds[0] and chosen[1].val == folds[1].val
    assert len(chosen[1].train) == 2 and set(chosen[1].train) < set(names[:6])
    assert chosen == fewer_cases(folds, 1, 2)
    assert set(fewer_cases(folds, 1, 4)[1].train) > set(chosen[1].train)
    assert fewer_cases(folds, 1, None) == list(folds)
