"""Shares of a machine that trainings side by side are given; that they train is in `test_crossval.py`, how
they end in `end_to_end/test_stopping.py`."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import pytest

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.layout import TEXT_LOG
from trainers.parallel import devices
from trainers.parallel.devices import train_over_devices
from trainers.request import TrainRequest
from trainers.stopping import TrainingStopped


@pytest.mark.parametrize(
    ("cores", "places", "threads"),
    [
        (2, ("cpu", "cpu"), [1, 1]),
        (8, ("cpu", "cpu", "cpu"), [3, 3, 2]),
        (1, ("cpu", "cpu"), [1, 1]),
        (8, ("cpu", "mps"), [8, None]),
    ],
)
def test_trainings_on_a_cpu_share_its_cores(
    cores: int, places: tuple[str, ...], threads: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "usable_cores", lambda: cores)
    monkeypatch.setattr(devices, "threads_are_given", lambda: False)
    assert [share.threads for share in devices.shares(places)] == threads
    monkeypatch.setattr(devices, "threads_are_given", lambda: True)
    assert {share.threads for share in devices.shares(places)} == {None}, "OMP_NUM_THREADS says it"


def test_trainings_on_gpus_share_the_processes_that_make_batches_and_those_that_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At its end each scored its validation with a process per core of the whole machine."""
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)
    monkeypatch.setattr(devices, "threads_are_given", lambda: False)
    share = devices.shares(("cuda:0", "cuda:1"))[1]
    assert (share.device, share.threads, share.workers) == ("cuda:1", 8, devices.workers_beside_gpu(16, 2))
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    assert [share.threads for share in devices.shares(("cuda:0", "cuda:1", "cuda:2"))] == [1, 1, 1]
    monkeypatch.setattr(devices, "threads_are_given", lambda: True)
    assert devices.shares(("cuda:0",))[0].threads is None, "OMP_NUM_THREADS says it"


def test_what_a_training_is_asked_for_goes_before_its_share(make_request) -> None:
    asked = dataclasses.replace(make_request(epochs=1), workers=None, threads=5)
    given = devices.Share("cuda:1", workers=3, threads=2).given_to(asked)
    assert (given.device, given.workers, given.threads) == ("cuda:1", 3, 5)


def test_a_training_that_fails_is_told_with_what_it_said(make_request, tmp_path) -> None:
    roots = dataclasses.replace(make_request(epochs=1).roots, preprocessed=tmp_path)
    request = dataclasses.replace(make_request(epochs=1), roots=roots, configuration="2d")
    with pytest.raises(TrainingError, match="plan_and_preprocess"):
        train_over_devices([request], ("cpu",))


@pytest.fixture
def play(make_request, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Call it with the devices, and what a training of a fold ends with on a device: the exit code of five
    folds. It returns where which were trained, in order, and the error."""

    def over(places: tuple[str, ...], end: Callable[[str, int], int]) -> tuple[list[tuple[str, int]], str]:
        done: list[tuple[str, int]] = []

        def train(_: object, request: TrainRequest) -> int:
            device, fold = str(request.device), int(request.fold)
            done.append((device, fold))
            code = end(device, fold)
            time.sleep(0.0 if code else 0.05)  # what fails does so at once
            return code

        monkeypatch.setattr(devices._Trainings, "train", train)
        roots = dataclasses.replace(make_request(epochs=1).roots, results=tmp_path / "results")
        request = dataclasses.replace(make_request(epochs=1), roots=roots, configuration="2d")
        wanted = [dataclasses.replace(request, fold=fold) for fold in range(5)]
        for each in wanted:
            devices._folder(each).path.mkdir(parents=True, exist_ok=True)
            devices._folder(each).text_log.touch()
        with pytest.raises(TrainingError) as problem:
            train_over_devices(wanted, places)
        return done, str(problem.value)

    return over


def test_a_gpu_that_failed_a_fold_is_given_no_other(play) -> None:
    """Two GPUs of which one fails whatever it is given: all folds but that one train on the other."""
    done, problem = play(("cuda:0", "cuda:1"), lambda device, _: int(device == "cuda:1"))
    (lost,) = [fold for device, fold in done if device == "cuda:1"]
    assert sorted(fold for device, fold in done if device == "cuda:0") == sorted(set(range(5)) - {lost})
    assert f"2d, fold {lost}" in problem
    assert problem.count(TEXT_LOG) == 1


def test_folds_for_which_no_gpu_is_left_are_named_with_the_logs_of_those_that_failed(play) -> None:
    done, problem = play(("cuda:0", "cuda:1"), lambda *_: 1)
    assert {fold for _, fold in done} == {0, 1} and len(done) == 2
    assert "not begun" in problem and "2d, fold 2, 2d, fold 3, 2d, fold 4" in problem
    assert problem.count(TEXT_LOG) == 2


def test_a_cpu_and_a_gpu_whose_training_was_stopped_go_on_with_the_next_fold(play) -> None:
    for place, code in (("cpu", 1), ("cuda:0", TrainingStopped.exit_code)):
        done, problem = play((place,), lambda _, fold, code=code: code if fold == 0 else 0)
        assert done == [(place, fold) for fold in range(5)]
        assert "not begun" not in problem
