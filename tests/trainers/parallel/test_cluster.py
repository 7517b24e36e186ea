"""Which worker trains which fold, with a cluster that is played; and the process that trains a fold on a
worker."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest

from balrsam_pipeline.errors import ClusterError
from balrsam_pipeline.execution import folder_lock
from balrsam_pipeline.execution.dask_watch import WorkerWatch
from trainers.parallel import cluster, cluster_worker
from trainers.parallel.cluster import _Fold, _train_all
from trainers.parallel.cluster_worker import FoldEnd, FoldTask, train_attached


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(cluster_worker, "LOOK_EVERY_S", 0.05)


class PlayedCluster:
    """A client whose workers (address -> GPUs declared) `act` on every task that is sent to them."""

    status = "running"

    def __init__(self, workers: dict[str, int], act: Callable[[PlayedCluster, str, str], int | None]) -> None:
        self.workers, self.act = workers, act
        self.sent: list[tuple[str, str]] = []
        self.resources: list[dict[str, float] | None] = []
        self.at_once: list[int] = []
        self.busy: dict[Future[FoldEnd], str] = {}

    def scheduler_info(self, n_workers: int) -> dict[str, object]:
        for future, name in list(self.busy.items()):
            code = self.act(self, *next(sent for sent in reversed(self.sent) if sent[0] == name))
            if code is not None and not future.cancelled():
                future.set_result(FoldEnd(code=code, host="h", elapsed_s=1.0, printed="what it printed"))
            if code is not None or future.cancelled():
                del self.busy[future]
        return {
            "workers": {
                address: {"resources": {"GPU": gpus} if gpus else {}}
                for address, gpus in self.workers.items()
            }
        }

    def get_executor(
        self,
        pure: bool,
        workers: list[str],
        allow_other_workers: bool,
        resources: dict[str, float] | None = None,
    ) -> object:
        def submit(_: object, task: FoldTask) -> Future[FoldEnd]:
            future: Future[FoldEnd] = Future()
            self.sent.append((task.name, workers[0]))
            self.resources.append(resources)
            self.busy[future] = task.name
            self.at_once.append(len(self.busy))
            return future

        return SimpleNamespace(submit=submit)


def train_all(
    played: PlayedCluster, waiting: deque[_Fold], processes: int, wait_s: float = 60.0
) -> dict[str, str]:
    return _train_all(played, waiting, processes, WorkerWatch("tcp://played", wait_s))


def folds(count: int, processes: int = 1) -> deque[_Fold]:
    return deque(
        _Fold(FoldTask(name=f"fold {n}", words=(), folder=Path(), processes=processes)) for n in range(count)
    )


def test_a_worker_trains_one_fold_at_a_time_where_none_declares_gpus() -> None:
    played = PlayedCluster({"a": 0, "b": 0}, lambda *_: 0)
    assert train_all(played, folds(5), 1) == {}
    assert max(played.at_once) == 2
    assert sorted(name for name, _ in played.sent) == [f"fold {n}" for n in range(5)]


def test_a_fold_takes_as_many_gpus_as_it_has_processes() -> None:
    played = PlayedCluster({"a": 2, "b": 1, "c": 0, "d": 2}, lambda *_: 0)
    assert train_all(played, folds(4, processes=2), 2) == {}
    assert {worker for _, worker in played.sent} == {"a", "d"}
    assert max(played.at_once) == 2
    assert played.resources == [{"GPU": 2.0}] * 4


@pytest.mark.parametrize("processes", [1, 2])
def test_a_worker_with_more_gpus_than_a_fold_takes_trains_one_at_a_time_and_says_so(
    processes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A fold takes the first GPUs that its worker sees: two at a time would share them."""
    played = PlayedCluster({"a": 4, "b": 4}, lambda *_: 0)
    assert train_all(played, folds(6, processes), processes) == {}
    assert max(played.at_once) == 2
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "GPU=4" in told and "--gpus-per-fold 4" in told and "CUDA_VISIBLE_DEVICES" in told


@pytest.mark.parametrize(("gpus", "count"), [({"a": 4}, 1), ({"a": 4, "b": 4}, 2), ({"a": 1, "b": 4}, 2)])
def test_gpus_for_which_no_fold_waits_are_no_matter(
    gpus: dict[str, int], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert train_all(PlayedCluster(gpus, lambda *_: 0), folds(count), 1) == {}
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_a_fold_whose_worker_is_lost_goes_on_elsewhere() -> None:
    def act(played: PlayedCluster, fold: str, worker: str) -> int | None:
        if worker == "a":
            played.workers = {"b": 0}
            return None
        return 0

    played = PlayedCluster({"a": 0}, act)
    assert train_all(played, folds(1), 1) == {}
    assert played.sent == [("fold 0", "a"), ("fold 0", "b")]


def test_folds_for_which_no_worker_comes_end_with_a_message() -> None:
    def act(played: PlayedCluster, fold: str, worker: str) -> int | None:
        played.workers = {}
        return None

    for played in (PlayedCluster({}, act), PlayedCluster({"a": 0}, act)):
        with pytest.raises(ClusterError, match=r"no worker for 0.1 s"):
            train_all(played, folds(2), 1, wait_s=0.1)


def test_a_fold_that_loses_every_worker_is_given_up_and_the_others_finish() -> None:
    def act(played: PlayedCluster, fold: str, worker: str) -> int | None:
        if fold == "fold 0":
            played.workers = {f"{worker}+": 0}
            return None
        return 0

    played = PlayedCluster({"a": 0}, act)
    assert train_all(played, folds(2), 1) == {"fold 0": "lost its worker 3 times"}
    assert [name for name, _ in played.sent].count("fold 0") == 3


def test_a_fold_that_was_asked_to_stop_is_sent_on_and_one_that_fails_is_not() -> None:
    codes = {"fold 0": iter([75, 75, 0]), "fold 1": iter([2])}
    played = PlayedCluster({"a": 0}, lambda played, fold, worker: next(codes[fold]))
    failed = train_all(played, folds(2), 1)
    assert [name for name, _ in played.sent].count("fold 0") == 3
    assert list(failed) == ["fold 1"]
    assert "exit code 2" in failed["fold 1"] and "what it printed" in failed["fold 1"]


def test_what_training_prints_is_kept_and_its_exit_code_comes_back(tmp_path: Path) -> None:
    end = train_attached(FoldTask(name="f", words=("--version",), folder=tmp_path / "fold_0"), lambda: False)
    assert end.code == 0
    assert "balrsam-pipeline" in end.printed
    assert (tmp_path / "fold_0" / "cluster.log").read_text() == end.printed


def test_training_that_is_called_off_is_asked_to_stop_and_may_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = "import pathlib, signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
    child += f"pathlib.Path({str(tmp_path / 'started')!r}).touch(); time.sleep(60)"
    monkeypatch.setattr(cluster_worker, "training_command", lambda task: [sys.executable, "-c", child])
    end = train_attached(FoldTask(name="f", words=(), folder=tmp_path), (tmp_path / "started").is_file)
    assert end.code == 75


def test_several_processes_train_a_fold_where_signals_reach_all() -> None:
    command = cluster_worker.training_command(
        FoldTask(name="f", words=("train", "4"), folder=Path(), processes=3)
    )
    assert command[1:] == [
        "-m",
        "balrsam_pipeline.execution.launch",
        "--processes",
        "3",
        "--",
        "train",
        "4",
    ]


def test_a_former_attempt_that_is_waited_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cluster_worker, "TOLD_AFTER_S", 0.1)
    monkeypatch.setattr(cluster_worker, "FORMER_ENDS_WITHIN_S", 0.5)
    with folder_lock(tmp_path), caplog.at_level("INFO"):
        cluster_worker.wait_for_former(tmp_path)
    told = [record.getMessage() for record in caplog.records if "waiting up to" in record.getMessage()]
    assert len(told) == 1 and str(os.getpid()) in told[0]
