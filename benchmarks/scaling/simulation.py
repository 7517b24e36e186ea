"""A discrete-event simulation of many cases on many workers: one scheduler, one shared file system,
stragglers, lost workers.

A worker asks the scheduler for a case (the scheduler serves one request at a time), reads it from the file
system (whose bandwidth all readers and writers share equally), computes, writes, and asks again. A worker may
be lost while it works: its case starts anew on the next free worker, and the worker itself comes back after a
while.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What the cases run on.

    Attributes:
        dispatch_s: the scheduler's own time for one case, from submission to result.
        bandwidth: bytes a second of the file system, shared by all.
        worker_bandwidth: bytes a second of one worker's link to it.
        losses_per_hour: how often one worker is lost.
        return_s: until a lost worker is back.
    """

    workers: int
    dispatch_s: float = 0.0
    bandwidth: float = math.inf
    worker_bandwidth: float = math.inf
    losses_per_hour: float = 0.0
    return_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """How it went.

    Attributes:
        efficiency: the work that was asked for, as a fraction of workers × makespan.
        scheduler_busy: fraction of the makespan; so are `file_system_busy` and `tail`, what came after the
            last dispatch.
        lost_work: computed in vain, as a fraction of all that was computed.
    """

    makespan_s: float
    efficiency: float
    scheduler_busy: float
    file_system_busy: float
    tail: float
    lost_work: float


@dataclass(slots=True)
class _FileSystem:
    """Processor sharing: `service` is how many bytes each active transfer has got since the beginning."""

    cluster: Cluster
    service: float = 0.0
    now: float = 0.0
    busy_s: float = 0.0
    active: list[tuple[float, int, int]] = field(default_factory=list)  # (service at its end, order, worker)
    gone: set[int] = field(default_factory=set)

    def rate(self) -> float:
        count = len(self.active) - len(self.gone)
        return min(self.cluster.worker_bandwidth, self.cluster.bandwidth / count) if count else 0.0

    def advance(self, now: float) -> None:
        if self.active:
            step = now - self.now
            self.service += self.rate() * step if step > 0 else 0.0
            self.busy_s += step * min(
                1.0, (len(self.active) - len(self.gone)) * self.rate() / self.cluster.bandwidth
            )
        self.now = now

    def next_end(self) -> float:
        self._drop_gone()
        return (
            self.now + max(0.0, self.active[0][0] - self.service) / self.rate() if self.active else math.inf
        )

    def _drop_gone(self) -> None:
        while self.active and self.active[0][1] in self.gone:
            self.gone.discard(heapq.heappop(self.active)[1])


def simulate(
    compute_s: Sequence[float], read_bytes: float, written_bytes: float, cluster: Cluster, seed: int = 0
) -> Simulated:
    """Work through cases in the given order.

    Args:
        compute_s: seconds of each case, without reading and writing.
        read_bytes: read for each case; `written_bytes` are written.
        seed: of the losses.
    """
    return _Simulation(compute_s, read_bytes, written_bytes, cluster, seed).run()


class _Simulation:
    def __init__(
        self, compute_s: Sequence[float], read_bytes: float, written_bytes: float, cluster: Cluster, seed: int
    ) -> None:
        self.compute_s, self.cluster = compute_s, cluster
        self.transfers = (read_bytes, written_bytes)
        self.waiting: deque[int] = deque(range(len(compute_s)))
        self.events: list[tuple[float, int, str, int, int]] = []  # (time, order, kind, worker, epoch)
        self.files = _FileSystem(cluster)
        self.random = np.random.default_rng(seed)
        self.order = 0
        self.epoch = [0] * cluster.workers  # raised when a worker is lost: its pending events are void
        self.case: list[int | None] = [None] * cluster.workers
        self.writing = [False] * cluster.workers
        self.started = [0.0] * cluster.workers
        self.transfer = [-1] * cluster.workers
        self.idle: list[int] = []
        self.scheduler_free = self.scheduler_s = self.lost_s = self.last_dispatch = self.end = 0.0
        self.left = len(compute_s)

    def run(self) -> Simulated:
        for worker in range(self.cluster.workers):
            self._ask(0.0, worker)
            self._await_loss(0.0, worker)
        while self.left:
            at = self.files.next_end()
            if at <= (self.events[0][0] if self.events else math.inf):
                self.files.advance(at)
                _, _, worker = heapq.heappop(self.files.active)
                self.transfer[worker] = -1
                self._transferred(at, worker)
                continue
            now, _, kind, worker, epoch = heapq.heappop(self.events)
            if epoch != self.epoch[worker]:
                continue
            self.files.advance(now)
            {"start": self._start, "computed": self._computed, "lost": self._lost, "back": self._back}[kind](
                now, worker
            )
        total, span = float(sum(self.compute_s)), max(self.end, 1e-12)
        return Simulated(
            makespan_s=self.end,
            efficiency=total / (self.cluster.workers * span),
            scheduler_busy=self.scheduler_s / span,
            file_system_busy=self.files.busy_s / span,
            tail=(self.end - self.last_dispatch) / span,
            lost_work=self.lost_s / (total + self.lost_s) if total + self.lost_s else 0.0,
        )

    def _push(self, at: float, kind: str, worker: int) -> None:
        self.order += 1
        heapq.heappush(self.events, (at, self.order, kind, worker, self.epoch[worker]))

    def _ask(self, now: float, worker: int) -> None:
        if not self.waiting:
            self.idle.append(worker)
            return
        self.case[worker] = self.waiting.popleft()
        self.scheduler_free = max(now, self.scheduler_free) + self.cluster.dispatch_s
        self.scheduler_s += self.cluster.dispatch_s
        self._push(self.scheduler_free, "start", worker)

    def _start(self, now: float, worker: int) -> None:
        self.started[worker] = self.last_dispatch = now
        self.writing[worker] = False
        self._move(now, worker, self.transfers[0])

    def _move(self, now: float, worker: int, size: float) -> None:
        if size <= 0 or (math.isinf(self.cluster.bandwidth) and math.isinf(self.cluster.worker_bandwidth)):
            self._transferred(now, worker)
            return
        self.order += 1
        self.transfer[worker] = self.order
        heapq.heappush(self.files.active, (self.files.service + size, self.order, worker))

    def _transferred(self, now: float, worker: int) -> None:
        case = self.case[worker]
        if case is None:
            return
        if not self.writing[worker]:
            self._push(now + self.compute_s[case], "computed", worker)
            return
        self.case[worker] = None
        self.left -= 1
        self.end = now
        self._ask(now, worker)

    def _computed(self, now: float, worker: int) -> None:
        self.writing[worker] = True
        self._move(now, worker, self.transfers[1])

    def _await_loss(self, now: float, worker: int) -> None:
        if self.cluster.losses_per_hour > 0:
            self._push(now + self.random.exponential(3600 / self.cluster.losses_per_hour), "lost", worker)

    def _lost(self, now: float, worker: int) -> None:
        case = self.case[worker]
        self.epoch[worker] += 1
        if self.transfer[worker] >= 0:
            self.files.gone.add(self.transfer[worker])
            self.transfer[worker] = -1
        if case is not None:
            self.lost_s += max(0.0, now - self.started[worker])
            self.case[worker] = None
            self.waiting.appendleft(case)
            if self.idle:
                self._ask(now, self.idle.pop())
        elif worker in self.idle:
            self.idle.remove(worker)
        self._push(now + self.cluster.return_s, "back", worker)

    def _back(self, now: float, worker: int) -> None:
        self._ask(now, worker)
        self._await_loss(now, worker)


def lower_bounds(compute_s: Sequence[float], moved_bytes: float, cluster: Cluster) -> dict[str, float]:
    """Seconds that each part alone would take at least: what is largest is what binds."""
    transfer_s = moved_bytes / min(cluster.worker_bandwidth, cluster.bandwidth) if moved_bytes else 0.0
    return {
        "workers": (sum(compute_s) + len(compute_s) * transfer_s) / cluster.workers,
        "scheduler": len(compute_s) * cluster.dispatch_s,
        "file system": len(compute_s) * moved_bytes / cluster.bandwidth,
        "longest case": max(compute_s) + transfer_s,
    }
