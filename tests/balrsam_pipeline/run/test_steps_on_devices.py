"""Folds on several GPUs of one machine, at the same time; the GPUs are made up."""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from support.plans import example_plan

from balrsam_pipeline import hardware
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.hardware import chosen_devices
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.run import RunRequest, steps_after_planning
from balrsam_pipeline.run.cli import _devices
from balrsam_pipeline.run.try_machine import try_machine


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_hint", lambda: "/dev/nvidia0")
    monkeypatch.setattr(hardware, "cuda_works", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


def words(*devices: str, device: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(devices=list(devices), device=device, cluster=None)


@pytest.mark.usefixtures("four_gpus")
def test_all_gpus_are_taken_by_default_and_none_where_one_was_named() -> None:
    assert _devices(words("auto")) == ("cuda:0", "cuda:1", "cuda:2", "cuda:3")
    assert _devices(words("auto", device="cuda:1")) == ()
    assert _devices(words("cuda:0", "cuda:2")) == ("cuda:0", "cuda:2")
    assert _devices(words("none")) == ()
    with pytest.raises(UsageError, match="--device"):
        _devices(words("cuda:0", "cuda:1", device="cuda"))


def test_one_gpu_trains_folds_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_hint", lambda: "/dev/nvidia0")
    monkeypatch.setattr(hardware, "cuda_works", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert chosen_devices(["auto"]) == ()


@pytest.mark.parametrize("devices", [(), ("cuda:0", "cuda:1")])
def test_beside_folds_on_several_gpus_the_machine_is_tried_in_a_process_that_gives_its_memory_back(
    devices: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr(
        subprocess, "run", lambda words, check: started.append(words) or subprocess.CompletedProcess(words, 0)
    )
    here: list[str] = []
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    request = RunRequest(dataset=roots.raw / "Dataset001_X", roots=roots, devices=devices)
    try_machine(request, print, lambda name, words, note: here.append(name) or 0)
    assert (len(started), len(here)) == ((1, 0) if devices else (0, 1))
    assert all("check_machine" in words and "--short" in words for words in started)


@pytest.mark.parametrize(("folds", "together"), [((0, 2), True), ((1,), False)])
def test_folds_train_at_the_same_time_and_their_own_steps_find_them_done(
    folds: tuple[int, ...], together: bool, tmp_path: Path
) -> None:
    roots = Roots(raw=tmp_path / "raw", preprocessed=tmp_path / "preprocessed", results=tmp_path / "results")
    (roots.raw / "Dataset001_X").mkdir(parents=True)
    request = RunRequest(
        dataset=roots.raw / "Dataset001_X", roots=roots, devices=("cuda:0", "cuda:1"), folds=folds
    )
    steps = {step.name: step for step in steps_after_planning(request, example_plan(), range(5))}
    assert ("train_on_devices" in steps) == together
    if together:
        step = steps["train_on_devices"]
        assert "--folds 0 2" in str(step) and "--parallel-folds cuda:0 cuda:1" in str(step)
        assert "train_on_devices" in steps["train_2d_fold_2"].needs
        assert "results/2d__balrsam/fold_2/checkpoint_final.safetensors" in step.outputs
