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
    for said in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert [share.threads for share in devices.shares(places)] == threads


def test_trainings_on_a_cpu_compute_and_score_with_the_threads_that_openmp_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it said so, each scored its validation with a process per core of the whole machine."""
    monkeypatch.setattr(devices, "usable_cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3,1")
    assert [share.threads for share in devices.shares(("cpu", "cpu", "mps"))] == [3, 3, None]
    monkeypatch.setenv("OMP_NUM_THREADS", "9000")
    assert devices.shares(("cpu", "cpu"))[0].threads == 8, "no more than there are cores"


def test_trainings_on_gpus_share_the_processes_that_make_batches_and_those_that_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At its end each scored its validation with a process per core of the whole machine; threads that
    compute are of no matter there, and so is what OpenMP is told of them."""
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)
    share = devices.shares(("cuda:0", "cuda:1"))[1]
    assert (share.device, share.threads, share.workers) == ("cuda:1", 8, devices.workers_beside_gpu(16, 2))
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    assert [share.threads for share in devices.shares(("cuda:0", "cuda:1", "cuda:2"))] == [1, 1, 1]
    for said in ("", "4"):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert devices.shares(("cuda:0", "cuda:1"))[0].threads == 1


def test_what_a_training_is_asked_for_goes_before_its_share(make_request) -> None:
    asked = dataclasses.replace(make_request(epochs=1), workers=None, threads=5)
    given = devices.Share("cuda:1", workers=3, threads=2).given_to(asked)
    assert (given.device, given.workers, given.threads) == ("cuda:1", 3, 5)


def test_a_training_that_fails_is_told_with_what_it_said(make_request, tmp_path) -> None:
    roots = dataclasses.replace(make_request(epochs=1).roots, preprocessed=tmp_path)
    request = dataclasses.replace(make_request(epochs=1), roots=roots, configuration="2d")
    with pytest.raises(TrainingError, match="plan_and_preprocess"):
        train_over_devices([request], ("cpu",))


Place = tuple[str, str, int]  # a device, and the configuration and fold that it trained


@pytest.fixture
def play(make_request, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Call it with the devices, what a training ends with there (its exit code), and configurations of which
    five folds each are trained. It returns what was trained where, in order, and the error."""

    def over(
        places: tuple[str, ...],
        end: Callable[[str, str, int], int],
        configurations: tuple[str, ...] = ("2d",),
    ) -> tuple[list[Place], str]:
        done: list[Place] = []

        def train(_: object, request: TrainRequest) -> int:
            place = (str(request.device), str(request.configuration), int(request.fold))
            done.append(place)
            code = end(*place)
            if code:
                devices._folder(request).text_log.touch()
            time.sleep(0.0 if code else 0.05)  # what fails does so at once
            return code

        monkeypatch.setattr(devices._Trainings, "train", train)
        roots = dataclasses.replace(make_request(epochs=1).roots, results=tmp_path / "results")
        request = dataclasses.replace(make_request(epochs=1), roots=roots)
        wanted = [
            dataclasses.replace(request, configuration=name, fold=fold)
            for name in configurations
            for fold in range(5)
        ]
        for each in wanted:
            devices._folder(each).path.mkdir(parents=True, exist_ok=True)
        with pytest.raises(TrainingError) as problem:
            train_over_devices(wanted, places)
        return done, str(problem.value)

    return over


CONFIGURATIONS = ("2d", "2.5d", "3d")
ALL = sorted((name, fold) for name in CONFIGURATIONS for fold in range(5))


def trained(done: list[Place]) -> list[tuple[str, int]]:
    return sorted((configuration, fold) for _, configuration, fold in done)


def test_a_gpu_that_fails_two_folds_in_a_row_is_given_no_other(play) -> None:
    """A broken card costs two folds, not all that wait: the other GPU trains the rest."""
    done, problem = play(("cuda:0", "cuda:1"), lambda device, *_: int(device == "cuda:1"), CONFIGURATIONS)
    lost = [(name, fold) for device, name, fold in done if device == "cuda:1"]
    assert len(lost) == 2 and trained(done) == ALL
    assert all(f"{name}, fold {fold}" in problem for name, fold in lost)
    assert problem.count(TEXT_LOG) == 2


@pytest.mark.parametrize("count", [1, 2, 4])
def test_a_configuration_that_fails_by_itself_costs_itself_alone(
    play, count: int, caplog: pytest.LogCaptureFixture
) -> None:
    """No GPU either: one that failed a fold of it tries another configuration next."""
    places = tuple(f"cuda:{number}" for number in range(count))
    done, problem = play(places, lambda _, name, fold: int(name == "2.5d"), CONFIGURATIONS)
    assert trained(done) == ALL
    assert all(f"2.5d, fold {fold}" in problem for fold in range(5)) and "3d, fold" not in problem
    assert "no other fold" not in caplog.text


def test_a_fold_that_fails_by_itself_costs_itself_alone(play) -> None:
    for places in (("cuda:0",), ("cuda:0", "cuda:1")):
        done, problem = play(places, lambda _, __, fold: int(fold == 1))
        assert trained(done) == [("2d", fold) for fold in range(5)]
        assert "2d, fold 1" in problem and "2d, fold 2" not in problem


def test_a_gpu_that_trains_a_fold_between_two_that_fail_is_given_more(play) -> None:
    """A fold of each configuration fails, on whatever GPU."""
    done, _ = play(("cuda:0", "cuda:1"), lambda _, __, fold: int(fold == 1), CONFIGURATIONS)
    assert len({device for device, *_ in done[-4:]}) == 2 and trained(done) == ALL


def test_a_gpu_that_is_named_twice_is_one(play) -> None:
    """What fails on both of its places is its own fault, and both are given no other then."""
    done, _ = play(("cuda:0", "cuda:0", "cuda:1"), lambda device, *_: int(device == "cuda:0"), CONFIGURATIONS)
    assert len([device for device, *_ in done if device == "cuda:0"]) <= 3  # of which one was under way
    assert trained(done) == ALL
    alone, _ = play(("cuda:0", "cuda:0"), lambda *_: 1)
    assert len(alone) == 5, "the last is kept"


def test_logs_of_an_earlier_run_are_not_named(make_request, tmp_path) -> None:
    """A training that ends before it writes its log leaves that of another time there."""
    roots = dataclasses.replace(make_request(epochs=1).roots, results=tmp_path / "results")
    request = dataclasses.replace(make_request(epochs=1), roots=roots, configuration="2d")
    folder = devices._folder(request)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.text_log.write_text("of another time\n")
    former = devices._written([request])
    assert devices._logs_since([request], former) == []
    folder.text_log.write_text("of another time\nof now\n")
    assert devices._logs_since([request], former) == [folder.text_log]


def test_a_cpu_and_a_gpu_whose_training_was_stopped_go_on_with_the_next_fold(play) -> None:
    for place, code in (("cpu", 1), ("cuda:0", TrainingStopped.exit_code)):
        done, problem = play((place,), lambda _, __, fold, code=code: code if fold == 0 else 0)
        assert done == [(place, "2d", fold) for fold in range(5)]
        assert "2d, fold 0" in problem
