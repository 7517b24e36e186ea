"""How long a cluster may be without workers, by a clock of our own."""

from __future__ import annotations

import logging

import pytest

from balrsam_pipeline.errors import ClusterError
from balrsam_pipeline.execution.dask_watch import WorkerWatch


def test_no_worker_from_the_start_is_an_error_once_the_limit_is_reached() -> None:
    watch = WorkerWatch("tcp://here:1", 45.0)
    for now_s in (100.0, 120.0, 144.9):
        watch.look([], now_s)
    with pytest.raises(ClusterError, match=r"tcp://here:1\n.*no worker for 45 s[\s\S]*--cluster-wait"):
        watch.look([], 145.0)


def test_the_limit_begins_anew_when_a_worker_has_been_there() -> None:
    watch = WorkerWatch("tcp://here:1", 10.0)
    watch.look([], 0.0)
    watch.look(["a"], 9.0)
    watch.look([], 12.0)
    watch.look([], 21.9)
    with pytest.raises(ClusterError):
        watch.look([], 22.0)


def test_a_worker_that_leaves_is_named_while_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    watch = WorkerWatch("tcp://here:1", 10.0)
    with caplog.at_level(logging.INFO):
        watch.look(["a", "b"], 0.0)
        watch.look(["b"], 3.0)
    assert caplog.messages == ["cluster: lost worker a; what it worked on goes to another"]


def test_a_scheduler_that_does_not_answer_is_given_up_as_such() -> None:
    watch = WorkerWatch("tcp://here:1", 10.0)
    watch.look(["a"], 0.0)
    watch.look(None, 3.0)
    with pytest.raises(ClusterError, match="has not answered for 10 s"):
        watch.look(None, 13.0)
