from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from balrsam_pipeline.cli import main
from balrsam_pipeline.dataset import read_folds, write_folds
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution.lock import LOCK_NAME
from balrsam_pipeline.layout import PreprocessedFolder
from evaluation import read_summary
from evaluation.reports.summary_json import write_summary
from trainers.crossval import CrossvalRequest, cross_validate, train_all_over_devices


def test_folds_are_trained_pooled_and_then_left_alone(make_request):
    request = CrossvalRequest(train=make_request(epochs=1), folds=(0, 2))
    result = cross_validate(request)
    assert not result.already_done
    assert set(result.summary.groups.values()) == {"fold 0", "fold 2"}
    assert read_summary(result.folder / "summary.json").groups == result.summary.groups
    assert result.intervals.splitlines()[0].startswith("organ: dice 0.")
    assert len(result.intervals.splitlines()) == 6
    (result.folder / LOCK_NAME).write_text("")  # what a call that was killed last of all leaves
    assert cross_validate(request).already_done
    assert not (result.folder / LOCK_NAME).exists()
    assert not result.repeats, "two folds are shown together for the first time"
    alone = cross_validate(CrossvalRequest(train=request.train, folds=(0, 0)))
    assert alone.repeats, "the table of the fold has been shown when it was trained"


def test_scores_are_pooled_anew_where_a_fold_was_validated_anew(make_request):
    """Of the same cases: its folder holds other scores. Once they are pooled they are left alone."""
    request = CrossvalRequest(train=make_request(epochs=1), folds=(0, 2))
    result = cross_validate(request)
    scored = result.folder.parent / "fold_2" / "validation" / "summary.json"
    fold = read_summary(scored)
    rows = tuple(replace(row, values=row.values | {"dice": 0.125}) for row in fold.rows)
    write_summary(replace(fold, rows=rows), scored)
    again = cross_validate(request)
    assert not again.already_done
    pooled = read_summary(again.folder / "summary.json")
    assert all(row.values["dice"] == 0.125 for row in pooled.rows if row.case in fold.cases)
    assert "0.125" in (again.folder / "per_case.csv").read_text()
    written = {path: path.stat().st_mtime_ns for path in again.folder.iterdir()}
    assert cross_validate(request).already_done
    assert {path: path.stat().st_mtime_ns for path in again.folder.iterdir()} == written


def test_folds_that_validate_a_case_twice_are_refused_before_any_is_trained(
    make_request, tmp_path, monkeypatch
):
    """As random splits of a user's own may; one of them alone is trained like any other."""
    request = make_request()
    preprocessed = tmp_path / "random_splits"
    shutil.copytree(request.roots.preprocessed, preprocessed)
    path = PreprocessedFolder(preprocessed / request.dataset.name).folds
    first, second, *_ = read_folds(path)
    write_folds(path, (first, second, first))
    request = replace(request, roots=replace(request.roots, preprocessed=preprocessed))
    monkeypatch.setattr("trainers.crossval.train_fold", lambda *_: pytest.fail("trained"))
    monkeypatch.setattr("trainers.crossval.train_over_devices", lambda wanted, _: len(wanted))
    for folds in (None, (0, 2)):
        with pytest.raises(DatasetError, match=f"{first.val[0]} in folds 0 2"):
            cross_validate(CrossvalRequest(train=request, folds=folds))
    for pooled in (None, (0, 2)):  # what trains folds alone, and pools nothing, takes them all
        train_all_over_devices([CrossvalRequest(train=request, folds=pooled)], ("cpu", "cpu"))


@pytest.mark.parametrize("alone", [False, True])
def test_crossval_trains_such_folds_at_the_same_time_where_it_pools_nothing(
    alone, make_request, tmp_path, monkeypatch
):
    request = make_request()
    preprocessed = tmp_path / "random_splits"
    shutil.copytree(request.roots.preprocessed, preprocessed)
    path = PreprocessedFolder(preprocessed / request.dataset.name).folds
    first, second, *_ = read_folds(path)
    write_folds(path, (first, second, first))
    trained = []
    monkeypatch.setattr("trainers.crossval.train_over_devices", lambda wanted, _: trained.extend(wanted))
    words = ["crossval", str(request.dataset), "--preprocessed", str(preprocessed)]
    words += ["--results", str(tmp_path / "results"), "--parallel-folds", "cpu", "cpu"]
    assert main([*words, *(["--folds-only"] if alone else [])]) == (0 if alone else 2)
    assert len(trained) == (3 if alone else 0)


def test_a_fold_that_is_named_twice_is_one(make_request, monkeypatch):
    trained = []
    monkeypatch.setattr("trainers.crossval.train_over_devices", lambda wanted, _: trained.extend(wanted))
    train_all_over_devices([CrossvalRequest(train=make_request(), folds=(2, 0, 2))], ("cpu", "cpu"))
    assert [request.fold for request in trained] == [2, 0]


def test_folds_train_at_the_same_time_on_several_devices(make_request):
    request = CrossvalRequest(train=make_request(epochs=1), folds=(0, 1))
    train_all_over_devices([request], ("cpu", "cpu"))
    result = cross_validate(request)
    assert result.already_done is False  # pooled here, of folds trained there
    assert set(result.summary.groups.values()) == {"fold 0", "fold 1"}
