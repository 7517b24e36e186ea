"""Loader processes beside a GPU: bounded by cores, bytes and shared memory."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainers.data import loader_size
from trainers.data.loader_size import PREFETCH_BYTES, LoaderSize, fitted, room_for_batches, workers_beside_gpu

BATCH_BYTES = 311_000_000  # 24 patches of 3 × 896 × 896: 15 processes with two each once took 9.5 GiB
MB = 10**6


@pytest.mark.parametrize(
    ("cores", "sharing", "workers"), [(128, 1, 12), (16, 1, 12), (8, 1, 7), (64, 8, 7), (2, 4, 1), (1, 1, 1)]
)
def test_workers_are_capped_for_each_gpu_and_divided_among_trainings(
    cores: int, sharing: int, workers: int
) -> None:
    assert workers_beside_gpu(cores, sharing) == workers


@pytest.mark.parametrize(
    ("workers", "room", "size"),
    [
        (12, 64 * BATCH_BYTES, LoaderSize(workers=12, ahead=2)),
        (12, 20 * BATCH_BYTES, LoaderSize(workers=12, ahead=1)),
        (12, PREFETCH_BYTES, LoaderSize(workers=6, ahead=1)),
        (12, 64 * MB, LoaderSize(workers=0, ahead=1)),
        (0, 64 * MB, LoaderSize(workers=0, ahead=2)),
    ],
)
def test_batches_made_ahead_never_take_more_than_there_is_room_for(
    workers: int, room: int, size: LoaderSize
) -> None:
    chosen = fitted(workers, BATCH_BYTES, room)
    assert chosen == size
    assert chosen.workers * chosen.ahead * BATCH_BYTES <= room


@pytest.mark.parametrize(
    ("workers", "room", "warned"),
    [
        (12, 64 * MB, True),
        (12, 3 * BATCH_BYTES, True),
        (12, PREFETCH_BYTES, False),  # bound by what is worth making ahead
        (2, 3 * BATCH_BYTES, False),  # both work, with one batch each
    ],
)
def test_too_little_shared_memory_is_warned_of_with_the_option_that_gives_more(
    workers: int, room: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        fitted(workers, BATCH_BYTES, room)
    assert [record.levelname for record in caplog.records] == ["WARNING" if warned else "INFO"]
    assert ("docker: --shm-size=8g or --ipc=host" in caplog.text) == warned


def _disk(free: int) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=free, f_bfree=free, f_blocks=free, f_frsize=4096)


def test_shared_memory_of_a_container_is_the_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_size, "SHARED_MEMORY", tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: _disk(16384))  # 64 MiB
    assert room_for_batches() == 32 * 2**20
    assert room_for_batches(sharing=4) == 8 * 2**20
    monkeypatch.setattr(os, "statvfs", lambda _: _disk(2**30))
    assert room_for_batches() == PREFETCH_BYTES
