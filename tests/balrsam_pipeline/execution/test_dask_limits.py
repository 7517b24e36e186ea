"""A scheduler and workers in processes of their own that are ended or frozen: work on them ends with a
message within a minute, or goes on."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from balrsam_pipeline.errors import ClusterError
from balrsam_pipeline.execution import ClusterOptions, ExecutionOptions, open_executor, run_cases

pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
from support.clusters import dask_cluster, wait_for_workers
from support.faulty import sleep_a_while

WAIT_S = 6.0  # without a worker


@contextmanager
def within_a_minute() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < 60


def work(
    file: Path, cases: int, seconds: float, begun: Callable[[], None] = lambda: None
) -> list[float | None]:
    """Cases that take so long each; `begun` is called once they are on their way."""
    options = ExecutionOptions(cluster=ClusterOptions(address=str(file), wait_s=WAIT_S))
    with open_executor(options) as executor:
        threading.Timer(1.0, begun).start()
        return [
            o.value for o in run_cases(sleep_a_while, {str(n): seconds for n in range(cases)}, executor, 1)
        ]


def process(folder: Path, name: str) -> int:
    return int((folder / f"{name}.pid").read_text())


def test_a_worker_that_is_killed_is_told_and_the_other_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with dask_cluster(tmp_path, workers=2, worker=("--no-nanny",)) as file:
        wait_for_workers(file, 2)
        with within_a_minute(), caplog.at_level(logging.WARNING):
            values = work(file, 8, 1.0, lambda: os.kill(process(tmp_path, "worker-1"), signal.SIGKILL))
        assert values == [1.0] * 8
        assert "lost worker tcp://" in caplog.text


def test_without_workers_and_without_a_scheduler_that_answers_work_ends_with_a_message(
    tmp_path: Path,
) -> None:
    """One story, because each part goes on with the scheduler of the part before."""
    with dask_cluster(tmp_path, workers=1, worker=("--no-nanny",)) as file:
        wait_for_workers(file, 1)
        scheduler = process(tmp_path, "scheduler")

        # the only worker is killed
        with within_a_minute(), pytest.raises(ClusterError, match=r"no worker for 6 s"):
            work(file, 2, 60.0, lambda: os.kill(process(tmp_path, "worker-0"), signal.SIGKILL))

        # there is none from the start
        with within_a_minute(), pytest.raises(ClusterError, match=r"no worker for 6 s"):
            work(file, 2, 60.0)

        # the scheduler is frozen, and later killed
        with within_a_minute(), pytest.raises(ClusterError, match=r"has not answered for 6 s"):
            work(file, 2, 60.0, lambda: os.kill(scheduler, signal.SIGSTOP))
        with within_a_minute(), pytest.raises(ClusterError, match="no Dask scheduler that answers"):
            work(file, 2, 60.0)
        os.kill(scheduler, signal.SIGCONT)
        with within_a_minute(), pytest.raises(ClusterError, match="connection to the scheduler is lost"):
            work(file, 2, 60.0, lambda: os.kill(scheduler, signal.SIGKILL))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", None])
def test_something_else_at_the_address_of_a_scheduler_is_told(
    answer: bytes | None,
) -> None:
    """It says nothing, answers as web servers do, or hangs up."""
    server, held = socket.create_server(("127.0.0.1", 0)), []

    def serve() -> None:
        for _ in range(99):
            there, _ = server.accept()
            if answer is None:
                there.close()
            else:
                there.sendall(answer)
                held.append(there)

    threading.Thread(target=serve, daemon=True).start()
    address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    program = (
        "import sys\nfrom balrsam_pipeline.execution import ClusterOptions\n"
        "from balrsam_pipeline.execution import dask_executor\n"
        "dask_executor.WAIT_S = 3.0\n"
        "with dask_executor.connect(ClusterOptions(address=sys.argv[1])):\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program, address], capture_output=True, timeout=60)
    assert done.returncode != 0
    assert b"ClusterError" in done.stderr
    assert address.encode() in done.stderr
