from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import threading

import pytest
import torch

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.plan import read_plan
from trainers.checkpoints import CheckpointFolder, read_checkpoint
from trainers.config import AugmentationConfig
from trainers.fold import train_fold
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


@pytest.mark.parametrize(("configuration", "step"), [("2d", 1), ("2d", 4), ("3d", 3)])
def test_stopped_and_resumed_equals_uninterrupted_to_the_bit(
    make_request, tmp_path, monkeypatch, configuration, step
):
    request = dataclasses.replace(make_request(), configuration=configuration)
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


def test_a_longer_budget_goes_on_from_a_finished_run_when_accepted(make_request):
    first = train_fold(make_request())
    longer = make_request(epochs=4)
    with pytest.raises(TrainingError, match="epochs: 3 -> 4"):
        train_fold(longer)
    train_fold(dataclasses.replace(longer, accept_changed_settings=True))
    assert [record["step"] for record in read_log(first.folder / "log.jsonl")] == [2, 4, 6, 8]


def test_a_damaged_latest_checkpoint_costs_one_epoch_not_the_run(make_request, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        stop_at(patch, 5)
        with pytest.raises(TrainingStopped):
            train_fold(make_request())
    folder = CheckpointFolder(make_request().model_folder("2d") / "fold_0")
    folder.path("latest").write_bytes(folder.path("latest").read_bytes()[:-100])
    train_fold(make_request())
    assert "going on from checkpoint_previous.safetensors, step 4" in caplog.text


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


def test_one_non_finite_batch_is_skipped_and_training_goes_on(make_request, monkeypatch):
    original = Trainer._backward

    def backward(self, batch, fetch):
        if self.state.step == 3:
            batch.inputs[0][:] = float("nan")
        return original(self, batch, fetch)

    monkeypatch.setattr(Trainer, "_backward", backward)
    result = train_fold(make_request())
    final = read_checkpoint(CheckpointFolder(result.folder).path("final"))
    assert all(torch.isfinite(tensor).all() for tensor in final.tensors.values())
    assert [
        record["step"] for record in read_log(result.folder / "log.jsonl") if record["event"] == "skipped"
    ] == [4]


def test_running_out_of_memory_names_the_remedies(make_request, monkeypatch):
    def greedy(self, batch, fetch):
        raise RuntimeError(
            "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"
        )

    monkeypatch.setattr(Trainer, "_backward", greedy)
    with pytest.raises(TrainingError, match="--batch-size 1"):
        train_fold(make_request())


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
