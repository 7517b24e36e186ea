from __future__ import annotations

import sys
import types

import pytest

from balrsam_pipeline.errors import TrainingError
from trainers.loggers.boards import make_watchers

RECORD = {
    "event": "epoch",
    "step": 7,
    "loss": 0.5,
    "quick_dice": 0.8,
    "learning_rate": 1e-3,
    "samples_per_s": 3.0,
}


def test_an_unknown_watcher_and_a_missing_package_are_named(tmp_path, monkeypatch):
    with pytest.raises(TrainingError, match="tensorboard, wandb"):
        make_watchers(["comet"], tmp_path)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(TrainingError, match="pip install wandb"):
        make_watchers(["wandb"], tmp_path)


def test_weights_and_biases_gets_the_figures_of_each_epoch_under_one_run(tmp_path, monkeypatch):
    sent, started = [], []
    run = types.SimpleNamespace(
        log=lambda values, step: sent.append((values, step)), finish=lambda: sent.append("end")
    )
    fake = types.SimpleNamespace(init=lambda **options: started.append(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    (watcher,) = make_watchers(["wandb"], tmp_path / "Dataset001_A" / "2d__balrsam" / "fold_0")
    watcher.log(RECORD)
    watcher.log({"event": "skipped", "step": 8})
    watcher.close()
    assert started[0]["id"] == "Dataset001_A-2d__balrsam-fold_0" and started[0]["resume"] == "allow"
    assert sent == [({"loss": 0.5, "quick_dice": 0.8, "learning_rate": 1e-3, "samples_per_s": 3.0}, 7), "end"]
