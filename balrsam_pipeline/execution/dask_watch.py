"""Whether a Dask cluster still has workers: who joined and left is told, and for how long nobody may be there
is limited."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from balrsam_pipeline.errors import ClusterError
from balrsam_pipeline.execution.failures import CaseStalled, run_with_limit
from balrsam_pipeline.printable import listed

LOG = logging.getLogger(__name__)
ANSWER_S = 5  # seconds that a scheduler may take to answer
SHOWN = 3  # workers named in a line


class WorkerWatch:
    """What was seen of the workers so far; `look` is told what is seen next."""

    def __init__(self, address: str, limit_s: float, wanted: str = "worker") -> None:
        """Nothing has been seen yet.

        Args:
            address: the cluster's, for messages.
            limit_s: how long no worker may be there.
            wanted: what a worker must be to count, in words.
        """
        self._address, self._limit_s, self._wanted = address, limit_s, wanted
        self._present: frozenset[str] = frozenset()
        self._none_since: float | None = None

    def look(self, workers: Collection[str] | None, now_s: float) -> None:
        """Note which workers are there at a moment of the monotonic clock, and say what changed.

        Args:
            workers: their addresses; None where the scheduler did not answer.

        Raises:
            ClusterError: none was there, or the scheduler did not answer, for longer than the limit.
        """
        if workers is not None:
            gone = sorted(self._present.difference(workers))
            if gone:
                LOG.warning("cluster: lost %s; what it worked on goes to another", _named(gone))
            self._present = frozenset(workers)
        if workers:
            if self._none_since is not None:
                LOG.info("cluster: %d worker(s) there", len(workers))
            self._none_since = None
            return
        if self._none_since is None:
            self._none_since = now_s
            found = f"no {self._wanted}" if workers is not None else "no answer of the scheduler"
            LOG.warning("cluster %s: %s; waiting for %g s at most", self._address, found, self._limit_s)
        if now_s - self._none_since >= self._limit_s:
            raise self._given_up(answered=workers is not None)

    def _given_up(self, answered: bool) -> ClusterError:
        if not answered:
            return ClusterError(
                f"cluster {self._address}",
                found=f"a scheduler that has not answered for {self._limit_s:g} s",
                expected="a scheduler until the work is done",
                fix="start it again, then the same command: what is finished stays finished",
            )
        return ClusterError(
            f"cluster {self._address}",
            found=f"no {self._wanted} for {self._limit_s:g} s",
            expected=f"a {self._wanted} that takes the work",
            fix=f"start workers (dask worker {self._address}), then the same command: what is finished stays "
            "finished; where they wait in a queue, --cluster-wait SECONDS",
        )


def workers_of(client: Any) -> dict[str, Any] | None:
    """The workers that a `distributed.Client`'s scheduler knows, by address; None where it does not
    answer."""
    try:
        workers: dict[str, Any] = run_with_limit(_workers, client, ANSWER_S)
    except (CaseStalled, OSError, RuntimeError) as problem:
        LOG.debug("cluster: %s", problem)
        return None
    return workers


def _workers(client: Any) -> dict[str, Any]:
    return dict(client.scheduler_info(n_workers=-1)["workers"])


def _named(workers: list[str]) -> str:
    return f"worker {listed(workers, SHOWN)}"
