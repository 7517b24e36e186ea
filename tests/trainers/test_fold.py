from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import threading
from types import SimpleNamespace

import pytest
import torch

from balrsam_pipeline.dataset import read_folds, write_folds
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.inference import PredictorOptions, load_predictor
from balrsam_pipeline.inference.model_folder import find_model, trained_folds
from balrsam_pipeline.inference.sharing.install import install_model
from balrsam_pipeline.inference.sharing.pack import ExportRequest, export_model
from balrsam_pipeline.layout import ModelFolder, PreprocessedFolder
from balrsam_pipeline.plan import read_plan, write_versioned
from evaluation import read_summary
from evaluation.best_configuration.find import BestRequest, find_best_configuration
from trainers import fold as fold_module
from trainers.augmentation_config import SHARES, AugmentationConfig
from trainers.changed_cases import refuse_changed_cases
from trainers.checkpoints import Checkpoint, CheckpointFolder, read_checkpoint, write_checkpoint
from trainers.data import open_fold
from trainers.fold import train_fold, validate_trained
from trainers.loggers.jsonl import read_log
from trainers.stopping import TrainingStopped
from trainers.trainer import Trainer


def stop_at(monkeypatch, step):
    """Send SIGTERM to this process when training reaches `step`."""
    original = Trainer.step

    def stepping(self, batch, progress, fetch):
        original(self, batch, progress, fetch)
        if self.state.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Trainer, "step", stepping)


def test_what_the_first_rank_finds_finished_the_others_do_not_begin_anew(make_request, monkeypatch):
    """They would wait for the first one, which has nothing to do any more, until the launcher gives up."""
    said = []

    @contextlib.contextmanager
    def joined(device):
        yield SimpleNamespace(
            first=False, rank=1, world_size=2, agree=lambda *mine: said.append(mine) or (True, 0.0)
        )

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(fold_module, "joined_ranks", joined)
    monkeypatch.setattr(fold_module, "_train", lambda *_: pytest.fail("trained"))
    assert train_fold(make_request(batch_size=2)).already_done
    assert said == [(False, 0.0)]


def test_a_fold_is_trained_validated_and_then_left_alone(make_request, caplog):
    result = train_fold(make_request())
    names = {path.name for path in result.folder.iterdir()}
    kinds = ("latest", "previous", "best", "final")
    assert names == {
        *(f"checkpoint_{kind}.safetensors" for kind in kinds),
        "log.jsonl",
        "log.txt",
        "progress.png",
        "run.json",
        "validation",
    }
    assert (result.folder / "validation" / "summary.json").is_file()
    assert len(list((result.folder / "validation").glob("*.nii.gz"))) == 1
    assert result.summary is not None and 0 <= result.summary.foreground_mean["dice"] <= 1
    assert [record["step"] for record in read_log(result.folder / "log.jsonl")] == [2, 4, 6]
    final = read_checkpoint(CheckpointFolder(result.folder).path("final"))
    assert {name.split("/")[0] for name in final.tensors} == {"ema"}
    assert json.loads((result.folder / "run.json").read_text())["steps"] == 6
    assert (result.folder.parent / "plan.json").is_file() and (
        result.folder.parent / "dataset.json"
    ).is_file()
    again = train_fold(make_request())
    assert again.already_done and again.summary is not None
    assert again.summary.foreground_mean == result.summary.foreground_mean


@pytest.mark.parametrize(
    ("start", "configuration", "step"),
    [
        ("make_request", "2d", 1),
        ("make_request", "2d", 4),
        ("make_request", "3d", 3),
        ("adapt", "3d", 3),  # stacks of slices
    ],
)
@pytest.mark.usefixtures("training_only")
def test_stopped_and_resumed_equals_uninterrupted_to_the_bit(
    request, tmp_path, monkeypatch, start, configuration, step
):
    make = request.getfixturevalue(start)
    request = dataclasses.replace(make(), configuration=configuration)
    whole = request
    whole = dataclasses.replace(whole, roots=dataclasses.replace(whole.roots, results=tmp_path / "whole"))
    expected = read_checkpoint(CheckpointFolder(train_fold(whole).folder).path("latest"))
    with monkeypatch.context() as patch:
        stop_at(patch, step)
        with pytest.raises(TrainingStopped) as stopped:
            train_fold(request)
    assert stopped.value.exit_code == 75 and f"SIGTERM after step {step}" in str(stopped.value)
    folder = train_fold(request).folder
    resumed = read_checkpoint(CheckpointFolder(folder).path("latest"))
    assert resumed.metadata["state"] == expected.metadata["state"]
    assert resumed.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert torch.equal(resumed.tensors[name], tensor), name


def test_changed_settings_are_shown_and_refused_unless_accepted(make_request, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(TrainingStopped):
            train_fold(make_request())
    changed = make_request(learning_rate=0.5)
    with pytest.raises(TrainingError, match=r"learning_rate: 0\.003 -> 0\.5"):
        train_fold(changed)
    assert train_fold(dataclasses.replace(changed, accept_changed_settings=True)).summary is not None


@pytest.mark.usefixtures("training_only")
def test_a_run_goes_on_with_the_augmentation_it_was_begun_with(make_request, monkeypatch):
    """What settings leave open follows rules, which a later version may change."""
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(TrainingStopped):
            train_fold(make_request())
    monkeypatch.setattr("trainers.augmentation_config.SHARES", dict.fromkeys(SHARES, (0.4, 0.6)))
    monkeypatch.setattr("trainers.augmentation_config.VOLUME_ROTATION_DEGREES", 45.0)
    monkeypatch.setattr("trainers.augmentation_config.TRANSLATION_PROBABILITY", 0.1)
    given = make_request(augmentation=AugmentationConfig(rotation_probability=0.9))
    with pytest.raises(TrainingError, match=r"started: augmentation\.rotation_probability: 0\.2 -> 0\.9\n"):
        train_fold(given)
    folder = train_fold(make_request()).folder
    settings = json.loads((folder / "run.json").read_text())["settings"]["augmentation"]
    assert [settings[name] for name in SHARES] == [usual for usual, _ in SHARES.values()]
    assert train_fold(make_request()).folder == folder, "finished, and not refused either"


@pytest.mark.usefixtures("training_only")
def test_a_run_begun_without_the_epochs_of_its_settings_file_goes_on_without_them(
    make_request, monkeypatch, caplog
):
    """Earlier versions left them out where the command line had another budget."""
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(TrainingStopped):
            train_fold(make_request(epochs=None, max_steps=6))
    typed = make_request(epochs=2, max_steps=6)
    with pytest.raises(TrainingError, match="started: epochs: None -> 2"):
        train_fold(typed)
    other = dataclasses.replace(make_request(epochs=2, max_steps=8), epochs_of_settings=True)
    with pytest.raises(TrainingError, match="epochs: None -> 2; max_steps: 6 -> 8"):
        train_fold(other)
    folder = train_fold(dataclasses.replace(typed, epochs_of_settings=True)).folder
    assert json.loads((folder / "run.json").read_text())["steps"] == 6, "not the 4 of 2 epochs"
    assert "the 2 epochs of --settings do not end it" in caplog.text


@pytest.fixture
def with_folds(make_request, tmp_path):
    """A request whose folds are changed by calling it with other ones."""
    request = make_request()
    preprocessed = tmp_path / "own_folds"
    shutil.copytree(request.roots.preprocessed, preprocessed)
    path = PreprocessedFolder(preprocessed / request.dataset.name).folds

    def change(folds=None, **settings):
        if folds is not None:
            write_folds(path, folds)
        changed = make_request(**settings)
        return dataclasses.replace(
            changed, roots=dataclasses.replace(changed.roots, preprocessed=preprocessed)
        )

    return change, read_folds(path)


def without_record_of_cases(path):
    """A checkpoint as earlier versions wrote it."""
    checkpoint = read_checkpoint(path)
    metadata = {name: value for name, value in checkpoint.metadata.items() if name != "cases_sha256"}
    assert metadata != checkpoint.metadata
    write_checkpoint(path, Checkpoint(checkpoint.tensors, metadata))


@pytest.mark.usefixtures("training_only")
@pytest.mark.parametrize("recorded", [True, False])
def test_a_finished_fold_is_neither_done_nor_validated_where_its_cases_changed(with_folds, recorded):
    """Fold 0 now validates what fold 1 did: cases that the weights of fold 0 have trained on."""
    change, folds = with_folds
    folder = train_fold(change(epochs=1)).folder
    if not recorded:
        without_record_of_cases(CheckpointFolder(folder).path("final"))
        without_record_of_cases(CheckpointFolder(folder).path("latest"))
    other = change((folds[1], folds[0], *folds[2:]), epochs=1)
    run = (folder / "run.json").read_bytes()
    (moved,) = folds[1].val
    for call in (train_fold, validate_trained):
        for accepted in (False, True):
            with pytest.raises(
                TrainingError, match=f"to validate although it trained on them: {moved}"
            ) as no:
                call(dataclasses.replace(other, accept_changed_settings=accepted))
            assert str(folder) in no.value.fix and "--results" in no.value.fix
    assert (folder / "run.json").read_bytes() == run
    assert train_fold(change(folds, epochs=1)).folder == folder
    if recorded:  # the weights say it themselves
        (folder / "run.json").write_text("")
        refuse_changed_cases(open_fold(change(folds)), CheckpointFolder(folder).begun())


@pytest.mark.usefixtures("training_only")
@pytest.mark.parametrize("recorded", [True, False])
def test_an_interrupted_fold_does_not_go_on_with_other_cases(with_folds, monkeypatch, recorded):
    change, folds = with_folds
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(TrainingStopped):
            train_fold(change())
    folder = change().model_folder("2d") / "fold_0"
    if not recorded:
        without_record_of_cases(CheckpointFolder(folder).path("latest"))
    run = (folder / "run.json").read_bytes()
    fewer = dataclasses.replace(folds[0], train=folds[0].train[1:])
    with pytest.raises(TrainingError, match=f"no longer among its cases: {folds[0].train[0]}"):
        train_fold(dataclasses.replace(change((fewer, *folds[1:])), accept_changed_settings=True))
    assert (folder / "run.json").read_bytes() == run
    assert train_fold(change(folds)).folder == folder


def test_scores_of_other_cases_than_the_fold_validates_are_made_again(with_folds):
    change, folds = with_folds
    first = train_fold(change(epochs=1))
    summary = first.folder / "validation" / "summary.json"
    (own,), (other,) = folds[0].val, folds[1].val
    summary.write_text(summary.read_text().replace(own, other))
    assert read_summary(summary).cases == (other,)
    again = train_fold(change(epochs=1))
    assert not again.already_done and again.summary is not None
    assert again.summary.cases == folds[0].val == read_summary(summary).cases


def test_folds_and_the_model_of_all_cases_follow_one_number_of_training_cases(make_request):
    request = make_request()
    opened = [open_fold(dataclasses.replace(request, fold=fold)) for fold in (0, 1, "all")]
    assert {data.training_cases for data in opened} == {4}
    assert len(opened[-1].fold.train) == 5


@pytest.mark.usefixtures("training_only")
def test_a_longer_budget_goes_on_from_a_finished_run_when_accepted(make_request, caplog):
    first = train_fold(make_request())
    longer = make_request(epochs=4)
    with pytest.raises(TrainingError, match="epochs: 3 -> 4"):
        train_fold(longer)
    train_fold(dataclasses.replace(longer, accept_changed_settings=True))
    assert "its final weights and validation are removed" in caplog.text
    assert [record["step"] for record in read_log(first.folder / "log.jsonl")] == [2, 4, 6, 8]


@pytest.mark.usefixtures("training_only")
def test_a_damaged_latest_checkpoint_costs_one_epoch_not_the_run(make_request, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(TrainingStopped):
            train_fold(make_request())
    folder = CheckpointFolder(make_request().model_folder("2d") / "fold_0")
    folder.path("latest").write_bytes(folder.path("latest").read_bytes()[:-100])
    train_fold(make_request())
    assert "going on from checkpoint_previous.safetensors, step 4" in caplog.text


@pytest.mark.usefixtures("training_only")
def test_without_mirroring_the_stored_plan_forbids_it_in_prediction_too(make_request):
    folder = train_fold(make_request(epochs=1, augmentation=AugmentationConfig(mirroring=False))).folder
    assert read_plan(folder.parent / "plan.json").configuration("2d").mirror_axes == ()
    assert read_checkpoint(CheckpointFolder(folder).path("final")).metadata["mirror_axes"] == []


def test_losses_that_stay_non_finite_end_the_run_and_name_the_cases(make_request, monkeypatch):
    monkeypatch.setattr("trainers.data.patches.augment_intensity", lambda image, *_: image * float("nan"))
    with pytest.raises(TrainingError, match=r"10 times in a row, last on demo_\d+ slice"):
        train_fold(make_request(epochs=20))
    log = read_log(make_request().model_folder("2d") / "fold_0" / "log.jsonl")
    assert sum(record["event"] == "skipped" for record in log) == 10


@pytest.mark.usefixtures("training_only")
def test_intensities_may_be_changed_on_the_device_instead_of_in_the_loader(make_request, monkeypatch):
    def not_here(*_):
        raise AssertionError("the loader changed intensities")

    monkeypatch.setattr("trainers.data.patches.augment_intensity", not_here)
    always = AugmentationConfig(on_device=True, noise_probability=1.0)
    (noisy,) = (
        record["loss"]
        for record in read_log(train_fold(make_request(epochs=1, augmentation=always)).folder / "log.jsonl")
    )
    assert noisy > 0


@pytest.mark.usefixtures("training_only")
def test_one_non_finite_batch_is_skipped_and_training_goes_on(make_request, monkeypatch):
    original = Trainer.step

    def step(self, batch, progress, fetch):
        if self.state.step == 3:
            batch.inputs[0][:] = float("nan")
        original(self, batch, progress, fetch)

    monkeypatch.setattr(Trainer, "step", step)
    result = train_fold(make_request())
    final = read_checkpoint(CheckpointFolder(result.folder).path("final"))
    assert all(torch.isfinite(tensor).all() for tensor in final.tensors.values())
    assert [
        record["step"] for record in read_log(result.folder / "log.jsonl") if record["event"] == "skipped"
    ] == [4]


def test_running_out_of_memory_names_the_remedies(make_request, monkeypatch):
    def greedy(self, batch, progress, fetch):
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
        )

    monkeypatch.setattr(Trainer, "step", greedy)
    with pytest.raises(TrainingError, match=r"--batch-size 1\)"):
        train_fold(make_request())


def test_a_smaller_batch_is_named_only_where_it_helps_and_with_what_lets_a_begun_run_take_it(
    make_request, monkeypatch
):
    stop_at(monkeypatch, 2)
    with pytest.raises(TrainingStopped):
        train_fold(make_request())
    monkeypatch.undo()

    def too_large(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_backward", too_large)
        with pytest.raises(TrainingError, match=r"--batch-size 1 --accept-changed-settings\)"):
            train_fold(make_request())
    monkeypatch.setattr("trainers.trainer.accumulate", too_large)  # of single samples too
    with pytest.raises(TrainingError, match=r"(?s)one sample after the other.*--input-size") as raised:
        train_fold(make_request())
    assert "--batch-size" not in str(raised.value)


def test_fold_all_trains_on_every_case_and_has_no_score(make_request, caplog, tmp_path):
    request = dataclasses.replace(make_request(epochs=1), fold="all")
    with caplog.at_level("INFO"):
        result = train_fold(request)
    assert "trains on all 5 cases; none is left to validate on" in caplog.text
    assert result.folder.name == "fold_all" and result.summary is None and not result.already_done
    names = {path.name for path in result.folder.iterdir()}
    assert "checkpoint_final.safetensors" in names
    assert not names & {"validation", "checkpoint_best.safetensors"}
    run = json.loads((result.folder / "run.json").read_text())
    assert len(run["training_cases"]) == 5 and run["validation_cases"] == []
    assert all("quick_dice" not in record for record in read_log(result.folder / "log.jsonl"))
    assert train_fold(request).already_done
    model = result.folder.parent
    assert trained_folds(model) == ("all",)
    exported = export_model(ExportRequest(folders=(model,), output=tmp_path / "all.zip"))
    assert f"{exported.dataset}/2d__balrsam/fold_all/checkpoint_final.safetensors" in exported.files
    (installed,) = install_model(tmp_path / "all.zip", tmp_path / "elsewhere")
    assert len(load_predictor(installed, options=PredictorOptions(device="cpu")).models) == 1
    assert "trained on all cases" in (installed.parent / "MODEL_CARD.md").read_text()


def test_a_trained_fold_is_validated_alone_and_with_its_best_checkpoint(make_request):
    with pytest.raises(TrainingError, match="balrsam train Dataset999_Demo --fold 0"):
        validate_trained(make_request())
    trained = train_fold(make_request(epochs=1))
    summary = trained.folder / "validation" / "summary.json"
    before = summary.read_bytes()
    summary.unlink()
    # other settings than those of training are of no matter, since nothing is trained
    again = validate_trained(make_request(epochs=7))
    assert summary.read_bytes() == before and again.summary is not None and trained.summary is not None
    assert again.summary.foreground_mean == trained.summary.foreground_mean
    best = validate_trained(dataclasses.replace(make_request(), weights="best"))
    assert (trained.folder / "validation_best" / "summary.json").is_file() and best.summary is not None
    assert summary.read_bytes() == before


@pytest.mark.usefixtures("training_only")
def test_patience_ends_training_before_its_budget(make_request, monkeypatch, caplog):
    """Quick validations say 0.5, 0.6, then nothing better: with a patience of 2 the fourth is the last."""
    scores = iter([0.5, 0.6, 0.6, 0.4, 0.9])
    monkeypatch.setattr("trainers.setup._averaged_dice", lambda *_: next(scores))
    with caplog.at_level("INFO"):
        folder = train_fold(make_request(epochs=50, patience=2)).folder
    assert [record["step"] for record in read_log(folder / "log.jsonl")] == [2, 4, 6, 8]
    assert "no better quick validation in 2 epochs" in caplog.text
    with pytest.raises(TrainingError, match="without validation cases"):
        train_fold(dataclasses.replace(make_request(patience=2), fold="all"))


def test_two_plans_of_a_dataset_train_side_by_side(make_request, tmp_path):
    """The second has other patches; each trains with its own, and neither touches the other's folder."""
    preprocessed = tmp_path / "preprocessed"
    shutil.copytree(make_request().roots.preprocessed, preprocessed)
    request = make_request(epochs=1)
    roots = dataclasses.replace(request.roots, preprocessed=preprocessed)
    request = dataclasses.replace(request, roots=roots)
    own = PreprocessedFolder(preprocessed / request.dataset.name)
    plan = read_plan(own.plan)
    small = dataclasses.replace(plan.configurations["2d"], patch_size=(16, 16))
    write_versioned(own.planned("small").plan, dataclasses.replace(plan, configurations={"2d": small}))
    shutil.copytree(own.path / "2d", own.planned("small").path / "2d")
    assert own.plans() == ("", "small")
    folders = [train_fold(dataclasses.replace(request, plan=name)).folder for name in ("", "small")]
    assert [folder.parent.name for folder in folders] == ["2d__balrsam", "2d__small__balrsam"]
    models = [ModelFolder(folder.parent) for folder in folders]
    assert [(model.configuration, model.plan_name) for model in models] == [("2d", ""), ("2d", "small")]
    sizes = [read_plan(model.plan).configuration("2d").patch_size for model in models]
    assert sizes == [(32, 32), (16, 16)]
    assert find_model("999", "2d", roots, "small") == models[1].path == find_model("999", "2d__small", roots)
    assert find_model("999", "2d", roots) == models[0].path
    with pytest.raises(TrainingError, match="balrsam plan_and_preprocess Dataset999_Demo --plan wide"):
        train_fold(dataclasses.replace(request, plan="wide"))
    best, _ = find_best_configuration(BestRequest(dataset=request.dataset, roots=roots))
    compared = {score.configurations for score in best.candidates}
    assert compared == {("2d",), ("2d__small",), ("2d", "2d__small")}


def test_without_a_choice_folds_with_a_score_predict_and_not_the_one_of_all_cases(tmp_path):
    for fold in (0, 2, "all"):
        checkpoint = ModelFolder(tmp_path).fold(fold).checkpoint("final")
        checkpoint.parent.mkdir()
        checkpoint.touch()
    assert trained_folds(tmp_path) == (0, 2)
    assert ModelFolder(tmp_path).all_folds() == (0, 2, "all")


def test_a_fold_that_does_not_exist_and_a_dataset_not_preprocessed_are_named(make_request, tmp_path):
    with pytest.raises(TrainingError, match="a fold from 0 to 4"):
        train_fold(dataclasses.replace(make_request(), fold=7))
    request = make_request()
    elsewhere = dataclasses.replace(request.roots, preprocessed=tmp_path / "nothing")
    with pytest.raises(TrainingError, match="balrsam plan_and_preprocess Dataset999_Demo"):
        train_fold(dataclasses.replace(request, roots=elsewhere))


def test_training_works_in_a_thread_where_signals_cannot_be_caught(make_request):
    results = []
    thread = threading.Thread(target=lambda: results.append(train_fold(make_request(epochs=1))))
    thread.start()
    thread.join()
    assert results[0].summary is not None


@pytest.mark.usefixtures("training_only")
def test_a_run_starts_from_a_trained_checkpoint_and_trains_what_is_not_frozen(make_request, tmp_path):
    trained = CheckpointFolder(train_fold(make_request(epochs=1)).folder).path("final")
    source = read_checkpoint(trained).part("ema")
    request = make_request(epochs=1, freeze="decoder")
    request = dataclasses.replace(
        request, init_from=trained, roots=dataclasses.replace(request.roots, results=tmp_path / "transfer")
    )
    ours = read_checkpoint(CheckpointFolder(train_fold(request).folder).path("final")).part("ema")
    frozen = "mask_decoder.transformer.norm_final_attn.weight"
    assert torch.equal(ours[frozen], source[frozen])
    assert not torch.equal(ours["mask_decoder.class_tokens"], source["mask_decoder.class_tokens"])
    assert 0 < (ours["mask_decoder.class_tokens"] - source["mask_decoder.class_tokens"]).abs().max() < 0.1


@pytest.mark.usefixtures("training_only")
def test_what_a_fold_starts_from_is_not_read_when_it_goes_on(make_request, tmp_path, monkeypatch, caplog):
    """The command of a run that was stopped, or has finished, is given again as it was; the log says what
    of it does nothing."""
    caplog.set_level("INFO")
    trained = CheckpointFolder(train_fold(make_request(epochs=1)).folder).path("final")
    request = make_request()
    results = dataclasses.replace(request.roots, results=tmp_path / "transfer")
    request = dataclasses.replace(request, init_from=trained, roots=results)
    stop_at(monkeypatch, 3)
    with pytest.raises(TrainingStopped):
        train_fold(request)
    assert "--init-from" not in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(fold_module, "validate_fold", lambda *_: None)
    for expected in (1, 2):
        folder = train_fold(request).folder
        assert caplog.text.count(f"--init-from {trained} is not read again") == expected
    assert read_checkpoint(CheckpointFolder(folder).path("final")).metadata["step"] == 6
    with pytest.raises(TrainingError, match="no such file"):
        train_fold(dataclasses.replace(request, init_from=tmp_path / "gone.safetensors"))


def test_a_sam_checkpoint_is_refused_where_the_plan_adapts_none(make_request, tmp_path):
    request = dataclasses.replace(make_request(), base=tmp_path / "sam_vit_b.pth")
    with pytest.raises(TrainingError, match=r"(?s)from scratch.*--backbone vit_b.*--init-from"):
        train_fold(request)


@pytest.mark.usefixtures("training_only")
def test_a_gradient_clip_of_0_is_one_that_nothing_reaches(make_request, tmp_path):
    """The oracle is a limit far above any norm; a limit far below gives other weights."""
    weights = {}
    for name, limit in (("none", 0.0), ("endless", 1e9), ("low", 1e-3)):
        request = make_request(epochs=1, gradient_clip=limit)
        request = dataclasses.replace(
            request, roots=dataclasses.replace(request.roots, results=tmp_path / name)
        )
        weights[name] = read_checkpoint(CheckpointFolder(train_fold(request).folder).path("final")).tensors
    assert all(torch.equal(tensor, weights["endless"][name]) for name, tensor in weights["none"].items())
    assert any(not torch.equal(tensor, weights["low"][name]) for name, tensor in weights["none"].items())


def test_a_case_withdrawn_after_planning_is_named_before_training(make_request, tmp_path):
    """It once trained to the end, and then validation ended with a KeyError."""
    request = make_request()
    raw = tmp_path / "raw" / request.dataset.name
    shutil.copytree(request.dataset, raw)
    gone = sorted((raw / "labelsTr").iterdir())[0]
    case = gone.name.split(".")[0]
    gone.unlink()
    for image in (raw / "imagesTr").glob(f"{case}_*"):
        image.unlink()
    preprocessed = tmp_path / "preprocessed"
    shutil.copytree(request.roots.preprocessed, preprocessed)
    roots = dataclasses.replace(request.roots, raw=raw.parent, preprocessed=preprocessed)
    with pytest.raises(TrainingError, match=f"withdrawn since planning: {case}"):
        train_fold(dataclasses.replace(request, dataset=raw, roots=roots))
    assert not request.roots.results.exists()
