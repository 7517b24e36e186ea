"""Validation of whole images: interrupted, it goes on; other weights, or a validation that ended, begin
anew."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import torch

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.files import write_json
from balrsam_pipeline.inference import Postprocessing
from balrsam_pipeline.inference.postprocessing import write_postprocessing
from balrsam_pipeline.inference.predict_image import label_of_image
from balrsam_pipeline.layout import FoldFolder, ModelFolder
from evaluation import Summary
from trainers import validation
from trainers.data import FoldData, open_fold
from trainers.fold import train_fold
from trainers.request import TrainRequest

CASES = ("demo_000", "demo_001", "demo_002")


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cases that are predicted from here on."""
    cases: list[str] = []

    def counted(case: str, *arguments: Any, **options: Any) -> Any:
        cases.append(case)
        return label_of_image(case, *arguments, **options)

    module = import_module("balrsam_pipeline.inference.predict_cases")  # the package names a function so
    monkeypatch.setattr(module, "label_of_image", counted)
    return cases


@pytest.fixture
def trained(make_request: Callable[..., TrainRequest], training_only: None) -> FoldData:
    """A trained fold, with three cases to validate on."""
    request = make_request(epochs=1)
    train_fold(request)
    data = open_fold(request)
    return dataclasses.replace(data, fold=dataclasses.replace(data.fold, val=CASES))


def validate(data: FoldData) -> Summary:
    return validation.validate_fold(data, "final", None, torch.device("cpu"), 1)


def interrupted(data: FoldData, monkeypatch: pytest.MonkeyPatch, without: str | None = None) -> Path:
    """Leave what a validation leaves that is killed before it scores, or before it predicted one case."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(validation, "evaluate_pairs", killed)
        with pytest.raises(KeyboardInterrupt):
            validate(data)
    folder = FoldFolder(data.folder).validation.path
    if without is not None:
        (folder / f"{without}.nii.gz").unlink()
    return folder


def test_an_interrupted_validation_predicts_what_is_missing(
    trained: FoldData, predicted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupted(trained, monkeypatch, without=CASES[1])
    predicted.clear()
    summary = validate(trained)
    assert predicted == [CASES[1]]
    assert summary.cases == CASES and (folder / "summary.json").is_file()


@pytest.mark.parametrize("amp", [True, False])
def test_whole_images_are_predicted_in_32_bits_where_training_computed_so(
    make_request: Callable[..., TrainRequest], training_only: None, monkeypatch: pytest.MonkeyPatch, amp: bool
) -> None:
    request = make_request(epochs=1, amp=amp)
    train_fold(request)
    seen: list[bool] = []

    def noted(*arguments: Any) -> None:
        seen.append(arguments[4].amp)
        raise KeyboardInterrupt

    monkeypatch.setattr(validation, "Predictor", noted)
    with pytest.raises(KeyboardInterrupt):
        validate(open_fold(request))
    assert seen == [amp]


def test_with_other_weights_nothing_that_was_predicted_before_is_kept(
    trained: FoldData,
    predicted: list[str],
    make_request: Callable[..., TrainRequest],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    interrupted(trained, monkeypatch, without=CASES[1])
    roots = dataclasses.replace(make_request().roots, results=tmp_path / "others")
    other = train_fold(dataclasses.replace(make_request(epochs=1, seed=7), roots=roots)).folder
    final = FoldFolder(trained.folder).checkpoint("final")
    shutil.copyfile(FoldFolder(other).checkpoint("final"), final)
    predicted.clear()
    validate(trained)
    assert sorted(predicted) == list(CASES)


def test_a_validation_that_ended_is_made_again_and_has_no_scores_meanwhile(
    trained: FoldData, predicted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = validate(trained)
    predicted.clear()
    folder = interrupted(trained, monkeypatch)
    assert sorted(predicted) == list(CASES) and not (folder / "summary.json").exists()
    assert validate(trained).foreground_mean == before.foreground_mean
    assert len(predicted) == len(CASES)


def test_scores_of_former_weights_do_not_pass_for_those_of_a_fold_trained_anew(
    make_request: Callable[..., TrainRequest], training_only: None
) -> None:
    folder = FoldFolder(train_fold(make_request(epochs=1)).folder)
    folder.validation.path.mkdir()
    folder.validation.summary.write_text("{}")
    folder.checkpoint("final").unlink()
    train_fold(make_request(epochs=1))
    assert not folder.validation.summary.exists()


@pytest.mark.parametrize("begun", ["anew", "further"])
def test_what_was_pooled_and_chosen_with_former_weights_goes_when_the_fold_is_trained_again(
    trained: FoldData, make_request: Callable[..., TrainRequest], begun: str
) -> None:
    """What other folds alone were pooled to, and rules that were chosen with them, stay."""
    crossval = ModelFolder(trained.folder.parent).crossval
    further = dataclasses.replace(make_request(epochs=2), accept_changed_settings=True)
    request = further if begun == "further" else make_request(epochs=1)
    for fold, stay in ((1, True), (0, False)):
        write_json(crossval.summary, {"balrsam": {"groups": {CASES[0]: f"fold {fold}"}}})
        write_postprocessing(crossval.postprocessing, Postprocessing())
        if begun == "anew":
            shutil.rmtree(trained.folder)
        else:
            request = dataclasses.replace(
                request, config=dataclasses.replace(request.config, epochs=(request.config.epochs or 0) + 1)
            )
        train_fold(request)
        assert [crossval.summary.is_file(), crossval.postprocessing.is_file()] == [stay, stay]


def test_a_label_whose_header_was_lost_is_scored_by_index_as_it_was_trained_on(
    trained: FoldData, tmp_path: Path
) -> None:
    before = validate(trained)
    shutil.copytree(trained.raw.folder, tmp_path / "lost")
    raw = open_dataset(tmp_path / "lost")
    label = raw.training_cases()[CASES[0]].label
    assert label is not None
    stored = sitk.ReadImage(str(label))
    stored.SetOrigin((500.0, 40.0, -30.0))
    sitk.WriteImage(stored, str(label))
    summary = validate(dataclasses.replace(trained, raw=raw))
    assert summary.rows == before.rows
    assert len(summary.warnings) == 1 and CASES[0] in summary.warnings[0]
