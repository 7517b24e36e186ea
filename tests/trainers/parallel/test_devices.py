"""Shares of a machine that trainings side by side are given; that they train is in `test_crossval.py`, how
they end in `end_to_end/test_stopping.py`."""

from __future__ import annotations

import dataclasses

import pytest

from balrsam_pipeline.errors import TrainingError
from trainers.parallel import devices
from trainers.parallel.devices import train_over_devices


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


def test_trainings_on_gpus_share_the_processes_that_make_batches(
    make_request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)
    share = devices.shares(("cuda:0", "cuda:1"))[1]
    assert (share.device, share.threads, share.workers) == ("cuda:1", None, devices.workers_beside_gpu(16, 2))


def test_what_a_training_is_asked_for_goes_before_its_share(make_request) -> None:
    asked = dataclasses.replace(make_request(epochs=1), workers=None, threads=5)
    given = devices.Share("cuda:1", workers=3, threads=2).given_to(asked)
    assert (given.device, given.workers, given.threads) == ("cuda:1", 3, 5)


def test_a_training_that_fails_is_told_with_what_it_said(make_request, tmp_path) -> None:
    roots = dataclasses.replace(make_request(epochs=1).roots, preprocessed=tmp_path)
    request = dataclasses.replace(make_request(epochs=1), roots=roots, configuration="2d")
    with pytest.raises(TrainingError, match="plan_and_preprocess"):
        train_over_devices([request], ("cpu",))
