"""Folds on several GPUs or the cores of a CPU of one machine, at the same time; the GPUs are made up."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.plans import example_plan

from balrsam_pipeline import hardware
from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.hardware import chosen_devices
from balrsam_pipeline.paths import Roots
from balrsam_pipeline.plan import Plan
from balrsam_pipeline.run import RunRequest, steps_after_planning
from balrsam_pipeline.run.arguments import _devices
from balrsam_pipeline.run.estimates import estimate
from balrsam_pipeline.run.execute import records_folder
from balrsam_pipeline.run.try_machine import try_machine


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "gpu_hint", lambda: "/dev/nvidia0")
    monkeypatch.setattr(hardware, "usable_cards", lambda: (0, 1, 2, 3))


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
    monkeypatch.setattr(hardware, "usable_cards", lambda: (0,))
    assert chosen_devices(["auto"]) == ()


@pytest.mark.parametrize("devices", [(), ("cuda:0", "cuda:1"), ("cpu", "cpu")])
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
    assert (len(started), len(here)) == ((1, 0) if "cuda:0" in devices else (0, 1))
    assert all("check_machine" in words and "--short" in words for words in started)


@pytest.mark.parametrize(("folds", "together"), [((0, 2), True), ((1,), False)])
def test_folds_train_at_the_same_time_and_their_own_steps_find_them_done(
    folds: tuple[int, ...], together: bool, tmp_path: Path
) -> None:
    request = made_up(tmp_path, devices=("cuda:0", "cuda:1"), folds=folds)
    steps = {step.name: step for step in steps_after_planning(request, example_plan(), range(5))}
    assert ("train_on_devices" in steps) == together
    if together:
        step = steps["train_on_devices"]
        assert "--folds 0 2" in str(step) and "--parallel-folds cuda:0 cuda:1" in str(step)
        assert "train_on_devices" in steps["train_2d_fold_2"].needs
        assert "results/2d__balrsam/fold_2/checkpoint_final.safetensors" in step.outputs


def test_a_cpu_is_shared_by_as_many_trainings_as_it_has_cores_and_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hardware, "usable_memory", lambda: 11 * hardware.GiB)  # of two trainings
    monkeypatch.setattr(hardware, "given_threads", lambda: None)
    for cores, count in ((1, 0), (2, 2), (8, 2)):
        monkeypatch.setattr(hardware, "usable_cores", lambda cores=cores: cores)
        assert hardware.cpu_devices() == ("cpu",) * count
    assert hardware.cpu_devices(threads=4) == ("cpu", "cpu") and hardware.cpu_devices(threads=8) == ()
    monkeypatch.setattr(hardware, "gpu_hint", lambda: None)
    assert _devices(words("auto")) == _devices(words("auto", device="cpu")) == ("cpu", "cpu")
    assert _devices(words("none")) == _devices(words("none", device="cpu")) == ()


def plan_with_companions() -> Plan:
    one = example_plan().configuration("2d")
    others = {name: dataclasses.replace(one, name=name) for name in ("2.5d", "3d")}
    return dataclasses.replace(
        example_plan(), configurations={"2d": one, **others}, companions=("3d", "2.5d")
    )


@pytest.mark.parametrize(
    ("devices", "folds", "trained"),
    [
        ((), (0,), ["2d"]),
        (("cpu", "cpu"), (0,), ["2d", "3d"]),
        (("cpu", "cpu"), (0, 1), ["2d"]),
        (("cpu",) * 5, (0, 1), ["2d", "3d"]),
        (("cpu",) * 8, (0,), ["2d", "3d", "2.5d"]),
    ],
)
def test_companions_are_trained_where_devices_would_be_idle(
    devices: tuple[str, ...], folds: tuple[int, ...], trained: list[str], tmp_path: Path
) -> None:
    request = made_up(tmp_path, devices=devices, folds=folds)
    steps = {step.name: step for step in steps_after_planning(request, plan_with_companions(), range(5))}
    assert [name for name in steps if name.startswith("train_")] == [
        *(["train_on_devices"] if devices else []),
        *(f"train_{name}_fold_{fold}" for name in trained for fold in folds),
    ]
    if devices:
        places = devices[: len(trained) * len(folds)]
        assert f"--parallel-folds {' '.join(places)}" in str(steps["train_on_devices"])
    chosen = steps["find_best_configuration"]
    assert ("--prefer accuracy" in str(chosen)) == (len(trained) > 1)


def test_what_the_user_says_goes_before_companions(tmp_path: Path) -> None:
    plan, places = plan_with_companions(), ("cpu", "cpu")
    named = made_up(tmp_path, devices=places, folds=(0,), configurations=("2d",))
    assert "train_on_devices" not in {step.name for step in steps_after_planning(named, plan, range(5))}
    options = {"find_best_configuration": {"--prefer": ("speed",)}}
    fast = made_up(tmp_path, devices=places, folds=(0,), options=options)
    chosen = steps_after_planning(fast, plan, range(5))[-1]
    assert "--prefer speed" in str(chosen) and "accuracy" not in str(chosen)


def test_trainings_side_by_side_are_expected_to_take_the_time_of_their_rounds(tmp_path: Path) -> None:
    request = made_up(tmp_path, devices=("cpu", "cpu"), folds=(0, 1, 2), max_minutes=10.0)
    steps = steps_after_planning(request, example_plan(), range(5))
    expected = [estimate(step, request, records_folder(request)).seconds for step in steps[:4]]
    assert expected == [1200.0, 0.0, 0.0, 0.0]


def made_up(folder: Path, **choices: Any) -> RunRequest:
    roots = Roots(raw=folder / "raw", preprocessed=folder / "preprocessed", results=folder / "results")
    (roots.raw / "Dataset001_X").mkdir(parents=True, exist_ok=True)
    return RunRequest(dataset=roots.raw / "Dataset001_X", roots=roots, **choices)
