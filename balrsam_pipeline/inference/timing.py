"""How long each stage of prediction took, added up over threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field

from balrsam_pipeline.execution import TimeLimit

LOOK_AGAIN_S = 0.1  # at who has the network, while waiting for it


class StageClock:
    """Adds up seconds by stage; a stage entered inside another pauses the outer one, so that times are
    exclusive."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._thread = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside the block for the stage `name`."""
        outer: str | None = getattr(self._thread, "name", None)
        self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def _switch(self, name: str | None) -> None:
        now, before = time.perf_counter(), getattr(self._thread, "name", None)
        if before is not None:
            with self._lock:
                self._seconds[before] = self._seconds.get(before, 0.0) + now - self._thread.since
        self._thread.name, self._thread.since = name, now

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what was counted elsewhere."""
        with self._lock:
            for name, value in seconds.items():
                self._seconds[name] = self._seconds.get(name, 0.0) + value

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, in the order in which stages first ended."""
        with self._lock:
            return dict(self._seconds)


@dataclass(slots=True)
class _Turn:
    """Whose turn at the network it is, and the time limit of that case where it has one."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    limit: TimeLimit | None = None


class NetworkLock:
    """Lets one thread at a time run the network, and one hold large sums of a volume; the time spent waiting
    is counted apart from the network's."""

    def __init__(self, clock: StageClock, *, sums_in_turn: bool = True) -> None:
        """Have both free.

        Args:
            clock: counts the stages "network" and "waiting".
            sums_in_turn: False where a thread may be given up, which would keep the sums for ever: then
                nobody waits for them.
        """
        self._clock, self._sums_in_turn = clock, sums_in_turn
        self._turn = _Turn()
        self._sums_lock = threading.Lock()
        self._limit: TimeLimit | None = None

    def of_case(self, limit: TimeLimit) -> NetworkLock:
        """The same lock in the hands of a case that may be given up: its waiting is not counted, and after
        that it gets the network no more."""
        mine = copy(self)
        mine._limit = limit
        return mine

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for the network, then count the block as the stage "network".

        Raises:
            CaseGivenUp: the case was given up.
        """
        with self._clock.stage("waiting"):
            self._wait()
        try:
            self.require_wanted()
            self._turn.limit = self._limit
            with self._clock.stage("network"):
                yield
        finally:
            self._turn.limit = None
            self._turn.lock.release()

    def require_wanted(self) -> None:
        """See that somebody waits for this case.

        Raises:
            CaseGivenUp: it was given up.
        """
        if self._limit is not None:
            self._limit.require_wanted()

    def _wait(self) -> None:
        """Take the network when it is free. Waiting counts from when a case has it that was given up, which
        may never let go."""
        if self._limit is not None:
            with self._limit.paused():
                while (holder := self._turn.limit) is None or not holder.given_up:
                    if self._turn.lock.acquire(timeout=LOOK_AGAIN_S):
                        return
        self._turn.lock.acquire()

    @contextmanager
    def hold_sums(self) -> Iterator[None]:
        """Wait until no other case holds large sums over patches of a volume, which are classes × a patch's
        depth × a slice: taken before the network is, and kept until the last slab is read."""
        if not self._sums_in_turn:
            yield
            return
        with self._clock.stage("waiting"):
            self._sums_lock.acquire()
        try:
            yield
        finally:
            self._sums_lock.release()


def stage_table(seconds: Mapping[str, float], cases: int, wall_s: float) -> str:
    """A table for a terminal: stage, seconds in all, seconds per case; the last row is what passed."""
    rows = [(name, value) for name, value in seconds.items()] + [("wall clock", wall_s)]
    width = max(len(name) for name, _ in rows)
    lines = [f"{'stage':<{width}}  {'total s':>9}  {'s per case':>10}"]
    lines += [f"{name:<{width}}  {value:9.2f}  {value / max(1, cases):10.3f}" for name, value in rows]
    return "\n".join(lines)
