"""The comparison of adapted and from scratch: both train on the same few cases, which settings follow."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from balrsam_pipeline.dataset import Fold

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "accuracy"


def test_of_each_fold_the_same_few_training_cases_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)  # as where the script is run
    fewer_cases = importlib.import_module("adapted").fewer_cases
    names = tuple(f"case_{number}" for number in range(9))
    folds = (Fold(train=names[3:], val=names[:3]), Fold(train=names[:6], val=names[6:]))
    chosen = fewer_cases(folds, 2)
    for left, fold in zip(chosen, folds, strict=True):
        assert left.val == fold.val
        assert len(left.train) == 2 and set(left.train) < set(fold.train)
    assert chosen == fewer_cases(folds, 2)
    assert set(fewer_cases(folds, 4)[1].train) > set(chosen[1].train)
    assert fewer_cases(folds, None) == list(folds)
