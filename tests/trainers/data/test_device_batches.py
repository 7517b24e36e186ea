"""The next batch on its way to a made-up device while the current one is computed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from support.apple import MPS, PlayedApple
from torch import Tensor

from trainers.data import Batch, DeviceBatches
from trainers.data.device_batches import CudaCopyStream

CPU = torch.device("cpu")


class Stream:
    """Notes what is asked of it; marks are numbers of batches."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.pinned: list[Tensor] = []
        self.inside, self.marks = False, 0

    @contextmanager
    def used(self) -> Iterator[None]:
        self.inside = True
        yield
        self.inside = False

    def mark(self) -> int:
        self.marks += 1
        return self.marks

    def finish(self, mark: int) -> None:
        self.events.append(f"finish {mark}")

    def hand_over(self, mark: int, tensors: tuple[Tensor, ...]) -> None:
        self.events.append(f"hand over {mark} with {len(tensors)}")

    def pinned_like(self, tensor: Tensor) -> Tensor:
        self.pinned.append(torch.empty_like(tensor))
        return self.pinned[-1]


def batches() -> Iterator[Batch]:
    for step in range(100):
        image = np.full((2, 1, 4, 4), step, np.float32)
        yield Batch(image, np.full((2, 4, 4), step, np.int16), np.array([step, step], np.uint32))


def plus_seed(image: Tensor, seeds: np.ndarray) -> Tensor:
    return image + float(seeds[0])


def values(moved: DeviceBatches, count: int) -> list[tuple[float, int]]:
    out = []
    for _ in range(count):
        batch = moved.take()
        moved.fetch()
        out.append((float(batch.inputs[0].mean()), int(batch.label_bhw.max())))
    return out


def test_batches_come_in_order_with_and_without_a_stream() -> None:
    expected = [(2.0 * step, step) for step in range(7)]
    assert values(DeviceBatches(batches(), CPU, plus_seed), 7) == expected
    assert values(DeviceBatches(batches(), CPU, plus_seed, Stream()), 7) == expected


def test_without_a_stream_nothing_is_made_before_it_is_asked_for() -> None:
    made = []

    def counted() -> Iterator[Batch]:
        for batch in batches():
            made.append(batch)
            yield batch

    moved = DeviceBatches(counted(), CPU, plus_seed)
    moved.take()
    moved.fetch()
    assert len(made) == 1


def test_copies_and_intensities_run_beside_the_computation() -> None:
    stream, inside = Stream(), []

    def augment(image: Tensor, seeds: np.ndarray) -> Tensor:
        inside.append(stream.inside)
        return image

    values(DeviceBatches(batches(), CPU, augment, stream), 3)
    assert inside == [True] * 4
    assert [event for event in stream.events if "hand" in event] == [
        f"hand over {n} with 2" for n in (1, 2, 3)
    ]


def test_pinned_memory_is_a_ring_that_waits_for_its_own_last_copy() -> None:
    stream = Stream()
    values(DeviceBatches(batches(), CPU, plus_seed, stream), 5)
    assert len(stream.pinned) == 2 * 2  # image and label, twice
    finished = [event for event in stream.events if event.startswith("finish")]
    assert finished == ["finish 1", "finish 2", "finish 3", "finish 4"]


def test_it_is_the_training_device_s_stream_that_waits_for_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds train on cuda:1 while torch's own current device is cuda:0, whose stream waited in its stead."""
    waited: list[tuple[torch.device | None, str]] = []

    class Current:
        def __init__(self, device: torch.device | None) -> None:
            self.device = device

        def wait_event(self, mark: str) -> None:
            waited.append((self.device, mark))

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: device)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: Current(device))
    second = torch.device("cuda", 1)
    CudaCopyStream(second).hand_over("copied", ())
    assert waited == [(second, "copied")]


def test_a_batch_is_on_an_apple_gpu_before_its_memory_on_the_cpu_may_go() -> None:
    """MPS reads memory that is not pinned after the call is back, when another batch may lie there."""
    with PlayedApple() as apple:
        assert values(DeviceBatches(batches(), MPS, plus_seed), 2) == [(0.0, 0), (2.0, 1)]
    assert apple.ahead == [False] * 4
