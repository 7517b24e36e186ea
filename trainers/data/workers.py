"""Batches made ahead of time by worker processes: the same batches in the same order, however many there are.

Worker w of n makes the batches w, w + n, … into shared memory. Each notes the sample it works on, so that
when it dies (out of memory, a damaged file, kill) the message can name the case and the signal.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.util import Finalize
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from balrsam_pipeline.errors import BalrsamError, TrainingError
from balrsam_pipeline.execution import hidden_main, worker_context
from balrsam_pipeline.hardware import found_gpus
from balrsam_pipeline.paths import launcher_environment
from trainers.config import TrainingConfig
from trainers.data.fold_data import FoldData
from trainers.data.kept_features import KeptFeatures
from trainers.data.loader import Batch, BatchLoader, BatchSource, InlineLoader
from trainers.data.loader_size import LoaderSize, fitted, room_for_batches
from trainers.data.patches import PatchReader
from trainers.data.sampling import Sampler
from trainers.stopping import SIGNALS

LOST_MOST = 10  # replaced workers after which something is wrong with the machine or the data


@dataclass(slots=True)
class _Worker:
    process: Any  # of the context's own Process class
    pipe: Connection
    slots: Any  # shared memory for the batches that it makes ahead
    working_on: Any  # shared integer: position in the batch of the sample being made
    pending: list[int]


def open_loader(
    data: FoldData,
    config: TrainingConfig,
    rank: tuple[int, int],
    workers: int,
    replace_lost: bool = False,
    features: KeptFeatures | None = None,
) -> BatchLoader:
    """What makes the training batches of a fold.

    Args:
        rank: this process's number among those that train together, and how many they are.
        workers: processes that make batches; 0 makes them when they are asked for, here.
        replace_lost: start a new process for one that died, instead of raising.
        features: give batches their kept features, which only works without worker processes.
    """
    cases = data.sampling_cases(data.fold.train)
    slices = data.source(cases, workers)
    sampler = Sampler(cases, slices.foreground, data.configuration, config, slices.annotated)
    reader = PatchReader(slices, data.configuration, config.augmentation)
    source = BatchSource(sampler, reader, config.batch_size or 1, *rank, features)
    return loader_of(source, workers, replace_lost)


def loader_of(source: BatchSource, workers: int, replace_lost: bool = False) -> BatchLoader:
    """What makes the batches of a source in up to `workers` processes, as many as there is room for."""
    if not workers:
        return InlineLoader(source)
    room = room_for_batches(max(launcher_environment()["local_world_size"], len(found_gpus())))
    size = fitted(workers, _Shapes.of(source).slot_bytes, room)
    return WorkerLoader(source, size, replace_lost) if size.workers else InlineLoader(source)


class WorkerLoader:
    """Makes batches in worker processes.

    Args:
        source: makes the batch of a step; travels to each worker once.
        size: how many processes, and how far ahead each works.
        replace_lost: start a new process for one that died, instead of raising.
    """

    def __init__(self, source: BatchSource, size: LoaderSize, replace_lost: bool = False) -> None:
        self._source, self._replace_lost, self._lost = source, replace_lost, 0
        self._count, self._ahead = size.workers, size.ahead
        self._shapes = _Shapes.of(source)
        self._workers: list[_Worker] = []
        # they ignore signals, so without `close` the end of this process would wait for them
        Finalize(self, _kill_all, (self._workers,), exitpriority=1)
        for _ in range(size.workers):
            self._workers.append(self._start())

    def batches(self, first_step: int) -> Iterator[Batch]:
        """Batches of `first_step`, `first_step` + 1, … without end.

        Raises:
            TrainingError: a worker died, or could not make a batch.
        """
        count = self._count
        for step in range(first_step, first_step + self._ahead * count):
            self._ask(self._workers[step % count], step)
        step = first_step
        while True:
            index = step % count
            batch = self._receive(index, step)
            self._ask(self._workers[index], step + self._ahead * count)
            yield batch
            step += 1

    def describe(self, step: int) -> str:
        """What the batch of `step` shows, in words."""
        return self._source.describe(step)

    def close(self) -> None:
        """End the worker processes, at once: they hold nothing that would be lost, and ignore signals."""
        for worker in self._workers:
            worker.process.kill()
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join()

    def _start(self) -> _Worker:
        context = worker_context()
        ours, theirs = context.Pipe()
        slots = context.RawArray("b", self._ahead * self._shapes.slot_bytes)
        working_on = context.RawValue("q", -1)
        arguments = (self._source, self._shapes, theirs, slots, working_on)
        process = context.Process(target=_work, args=arguments, daemon=True)  # type: ignore[attr-defined]
        with hidden_main():
            process.start()
        theirs.close()
        return _Worker(process, ours, slots, working_on, [])

    def _ask(self, worker: _Worker, step: int) -> None:
        worker.pending.append(step)
        try:
            worker.pipe.send((step, self._slot(step)))
        except (BrokenPipeError, ConnectionResetError):
            return  # it died; noticed when its batch is wanted

    def _receive(self, index: int, step: int) -> Batch:
        worker = self._workers[index]
        try:
            problem = worker.pipe.recv()
        except (EOFError, ConnectionResetError):
            self._lose(index)
            return self._receive(index, step)
        if problem is not None:
            raise problem
        worker.pending.remove(step)
        image, label, seeds = self._shapes.views(worker.slots, self._slot(step))
        return Batch(image.copy(), label.copy(), seeds.copy())

    def _slot(self, step: int) -> int:
        return (step // self._count) % self._ahead

    def _lose(self, index: int) -> None:
        """A worker died: say how and on what, then replace it or raise."""
        worker = self._workers[index]
        worker.process.join()
        self._lost += 1
        code, position = worker.process.exitcode, worker.working_on.value
        how = signal.Signals(-code).name if code is not None and code < 0 else f"exit code {code}"
        step = worker.pending[0]
        samples = self._source.samples(step)
        what = (
            f"{samples[position].case} slice {samples[position].slice_index}"
            if 0 <= position < len(samples)
            else "no sample"
        )
        if not self._replace_lost or self._lost > LOST_MOST:
            raise TrainingError(
                f"worker process {worker.process.pid} (batch of step {step})",
                found=f"it died by {how} while working on {what}",
                expected="worker processes to live as long as the training",
                fix="SIGKILL often means the system ran out of memory: use fewer --workers; "
                "or replace lost workers with --continue-on-worker-loss; the same command goes on from the "
                "last checkpoint",
            )
        worker.pipe.close()
        fresh = self._start()
        for pending in worker.pending:
            self._ask(fresh, pending)
        self._workers[index] = fresh


@dataclass(frozen=True, slots=True)
class _Shapes:
    """Where a batch's images, labels and seeds lie in shared memory."""

    image: tuple[int, ...]
    label: tuple[int, ...]

    @classmethod
    def of(cls, source: BatchSource) -> _Shapes:
        count, shape = len(source.samples(0)), source.reader.patch_shape
        return cls((count, source.reader.channels, *shape), (count, *shape))

    @property
    def slot_bytes(self) -> int:
        return 4 * int(np.prod(self.image)) + 4 * self.image[0] + 2 * int(np.prod(self.label)) + self.padding

    @property
    def padding(self) -> int:
        """Bytes that bring the next slot to a multiple of 4."""
        return 2 * int(np.prod(self.label)) % 4

    def views(
        self, slots: Any, slot: int
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        start = slot * self.slot_bytes
        image = np.frombuffer(slots, np.float32, int(np.prod(self.image)), start).reshape(self.image)
        seeds = np.frombuffer(slots, np.uint32, self.image[0], start + image.nbytes)
        label = np.frombuffer(
            slots, np.int16, int(np.prod(self.label)), start + image.nbytes + seeds.nbytes
        ).reshape(self.label)
        return image, label, seeds


def _kill_all(workers: list[_Worker]) -> None:
    for worker in workers:
        if worker.process.is_alive():
            worker.process.kill()


def _work(source: BatchSource, shapes: _Shapes, pipe: Connection, slots: Any, working_on: Any) -> None:
    """The life of a worker: a step comes in, its batch goes to shared memory, None (or the problem) goes
    back."""
    for number in SIGNALS:  # they reach the whole group; the trainer decides when workers end
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)  # of PyTorch's own pool the limits below may not know
    with threadpool_limits(1), suppress(EOFError, ConnectionError):  # the training has ended
        while True:
            step, slot = pipe.recv()
            image, label, seeds = shapes.views(slots, slot)
            try:
                for position, sample in enumerate(source.samples(step)):
                    working_on.value = position
                    image[position], label[position] = source.reader.read(sample)
                    seeds[position] = sample.intensity_seed or 0
                working_on.value = -1
                pipe.send(None)
            except BalrsamError as problem:
                pipe.send(problem)
            except Exception as problem:
                found = f"{type(problem).__name__}: {problem}"
                where = f"a batch of step {step} ({source.samples(step)[working_on.value].case})"
                fix = "check that case: balrsam verify DATASET"
                pipe.send(TrainingError(where, found=found, expected="a patch of it", fix=fix))
