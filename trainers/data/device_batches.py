"""Batches on the training device. On a GPU the next one is brought there, and its intensities are changed,
while the current one is computed: out of pinned memory, on a stream of its own, so that a step waits for
neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from balrsam_pipeline.hardware import sent
from trainers.data.loader import Batch

Augment = Callable[[Tensor, npt.NDArray[np.uint32]], Tensor]
RING = 2  # sets of pinned buffers: one is filled while the other may still be copied from


@dataclass(frozen=True, slots=True)
class DeviceBatch:
    """Image (b, c, h, w) and kept features, if any, as the network takes them; labels (b, h, w)."""

    inputs: tuple[Tensor, ...]
    label_bhw: Tensor


class CopyStream(Protocol):
    """Where copies to a GPU run beside its computation; `CudaCopyStream` is one."""

    def used(self) -> AbstractContextManager[Any]:
        """Within the context, operations run there."""

    def mark(self) -> Any:
        """A mark behind all that runs there so far."""

    def finish(self, mark: Any) -> None:
        """Wait here until a mark is reached."""

    def hand_over(self, mark: Any, tensors: tuple[Tensor, ...]) -> None:
        """Let the computation go on with tensors only behind a mark, without waiting here."""

    def pinned_like(self, tensor: Tensor) -> Tensor:
        """Memory that the device copies from by itself."""


class CudaCopyStream:
    """A stream of a CUDA device, which need not be the one that torch takes where none is named."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def used(self) -> AbstractContextManager[Any]:
        """Within the context, operations run on the stream."""
        return torch.cuda.stream(self._stream)

    def mark(self) -> torch.cuda.Event:
        """An event behind all that runs on the stream so far."""
        event: torch.cuda.Event = self._stream.record_event()
        return event

    def finish(self, mark: torch.cuda.Event) -> None:
        """Wait for an event."""
        mark.synchronize()

    def hand_over(self, mark: torch.cuda.Event, tensors: tuple[Tensor, ...]) -> None:
        """Let the device's current stream wait for an event; what it frees stays until it is done with it."""
        current = torch.cuda.current_stream(self._device)
        current.wait_event(mark)
        for tensor in tensors:
            tensor.record_stream(current)

    def pinned_like(self, tensor: Tensor) -> Tensor:
        """Page-locked memory."""
        return torch.empty_like(tensor, pin_memory=True)


class DeviceBatches:
    """Draws batches and brings them to the device, in their order.

    Args:
        batches: made by a loader.
        augment: changes intensities of a batch (image, seeds) on the device.
        stream: beside which the device computes; None brings each batch when it is asked for.
    """

    def __init__(
        self,
        batches: Iterator[Batch],
        device: torch.device,
        augment: Augment,
        stream: CopyStream | None = None,
    ) -> None:
        self._batches, self._device, self._augment, self._stream = batches, device, augment, stream
        self._ring: list[tuple[tuple[Tensor, ...], Any]] = []
        self._next: tuple[DeviceBatch, Any] | None = None

    def take(self) -> DeviceBatch:
        """The next batch, brought ahead where `fetch` was called."""
        if self._stream is None:
            return self._moved(*_tensors(next(self._batches)))
        if self._next is None:
            self.fetch()
        if self._next is None:
            raise ValueError("the loader has no batches")
        (batch, mark), self._next = self._next, None
        self._stream.hand_over(mark, (*batch.inputs, batch.label_bhw))
        return batch

    def fetch(self) -> None:
        """Begin to bring the batch after the one taken, while the device computes; nothing where it has no
        stream for that."""
        if self._stream is None or self._next is not None:
            return
        tensors, seeds = _tensors(next(self._batches))
        pinned = self._pinned(self._stream, tensors)
        with self._stream.used():
            batch = self._moved(pinned, seeds)
        mark = self._stream.mark()
        self._ring.append((pinned, mark))
        self._next = batch, mark

    def _pinned(self, stream: CopyStream, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The tensors in pinned memory: that of an earlier batch, once it has been copied from."""
        if len(self._ring) < RING:
            pinned = tuple(stream.pinned_like(tensor) for tensor in tensors)
        else:
            pinned, mark = self._ring.pop(0)
            stream.finish(mark)
        for place, tensor in zip(pinned, tensors, strict=True):
            place.copy_(tensor)
        return pinned

    def _moved(self, tensors: tuple[Tensor, ...], seeds: npt.NDArray[np.uint32]) -> DeviceBatch:
        image_bchw, label_bhw, *features = (sent(tensor, self._device) for tensor in tensors)
        return DeviceBatch((self._augment(image_bchw, seeds), *features), label_bhw)


def copy_stream(device: torch.device) -> CopyStream | None:
    """What copies to a device beside its computation; None where there is no such thing."""
    return CudaCopyStream(device) if device.type == "cuda" else None


def _tensors(batch: Batch) -> tuple[tuple[Tensor, ...], npt.NDArray[np.uint32]]:
    image, label = torch.from_numpy(batch.image_bchw), torch.from_numpy(batch.label_bhw)
    return (image, label, *batch.features), batch.seeds
