"""Shares of a machine that trainings side by side are given; that they train is in `test_crossval.py`, how
they end in `end_to_end/test_stopping.py`."""

from __future__ import annotations

import dataclasses

import pytest

from trainers.parallel import devices
from trainers.parallel.devices import _on
from trainers.request import TrainRequest


@pytest.fixture
def request_of_a_fold(make_request) -> TrainRequest:
    return make_request(epochs=1)


@pytest.mark.parametrize(
    ("cores", "places", "threads"),
    [(2, ("cpu", "cpu"), 1), (8, ("cpu", "cpu"), 4), (3, ("cpu", "cpu"), 1), (8, ("cpu", "cuda:0"), 8)],
)
def test_trainings_on_a_cpu_share_its_cores(
    cores: int,
    places: tuple[str, ...],
    threads: int,
    request_of_a_fold: TrainRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "usable_cores", lambda: cores)
    monkeypatch.setattr(devices, "threads_are_given", lambda: False)
    shared = _on(request_of_a_fold, "cpu", places)
    assert (shared.device, shared.threads, shared.workers) == ("cpu", threads, request_of_a_fold.workers)
    monkeypatch.setattr(devices, "threads_are_given", lambda: True)
    assert _on(request_of_a_fold, "cpu", places).threads is None, "OMP_NUM_THREADS says it"


def test_trainings_on_gpus_share_the_processes_that_make_batches(
    request_of_a_fold: TrainRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)
    open_choice = dataclasses.replace(request_of_a_fold, workers=None)
    shared = _on(open_choice, "cuda:1", ("cuda:0", "cuda:1"))
    assert shared.threads is None
    assert shared.workers == devices.workers_beside_gpu(16, 2)
    assert _on(dataclasses.replace(open_choice, workers=1), "cuda:1", ("cuda:0", "cuda:1")).workers == 1
