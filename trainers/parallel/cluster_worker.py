"""Training one fold on a worker of a Dask cluster: a process of its own, or several (`launch`), that end when
the worker does."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.execution import folder_lock
from balrsam_pipeline.files import own_descriptor
from balrsam_pipeline.layout import FoldFolder

LOG = logging.getLogger(__name__)
LOOK_EVERY_S = 1.0
TOLD_AFTER_S = 3.0
FORMER_ENDS_WITHIN_S = 120.0  # a former attempt whose worker was lost saves and ends by itself
TAIL_BYTES = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTask:
    """One fold to train.

    Attributes:
        name: for people.
        words: the command line after `balrsam`; all paths absolute.
        folder: the fold's folder of results; what the command prints goes to `cluster.log` there.
        processes: how many train it together (`launch`), one per GPU.
    """

    name: str
    words: tuple[str, ...]
    folder: Path
    processes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldEnd:
    """How a training ended: its exit code, where, after how long, and the end of what it printed."""

    code: int
    host: str
    elapsed_s: float
    printed: str


def train_on_worker(task: FoldTask) -> FoldEnd:
    """Carry out a task of Dask; called off, it has the training save and stop."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def called_off() -> bool:
        state = worker.state.tasks.get(key)
        return state is None or state.state == "cancelled"

    return train_attached(task, called_off)


def train_attached(task: FoldTask, called_off: Callable[[], bool]) -> FoldEnd:
    """Run the training and wait for its end, stopping it as soon as `called_off` says so."""
    started = time.monotonic()
    wait_for_former(task.folder)
    log = FoldFolder(task.folder).cluster_log
    command = [sys.executable, "-m", "balrsam_pipeline.execution.supervise", *training_command(task)]
    with os.fdopen(own_descriptor(log, os.O_TRUNC), "wb") as printed:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            if called_off() and process.stdin is not None and not process.stdin.closed:
                process.stdin.close()
            time.sleep(LOOK_EVERY_S)
        if process.stdin is not None:
            process.stdin.close()
    tail = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
    return FoldEnd(
        code=process.returncode, host=platform.node(), elapsed_s=time.monotonic() - started, printed=tail
    )


def training_command(task: FoldTask) -> list[str]:
    """The command that trains the fold with this machine's Python."""
    module = (
        ["balrsam_pipeline.execution.launch", "--processes", str(task.processes), "--"]
        if task.processes > 1
        else ["balrsam_pipeline"]
    )
    return [sys.executable, "-m", *module, *task.words]


def wait_for_former(folder: Path) -> None:
    """Wait while another process holds the fold: a former attempt that is saving. What is waited for is said
    once."""
    folder.mkdir(parents=True, exist_ok=True)
    began, said = time.monotonic(), False
    while True:
        try:
            with folder_lock(folder):
                return
        except UsageError as held:
            waited_s = time.monotonic() - began
            if waited_s > TOLD_AFTER_S and not said:
                LOG.info("%s: waiting up to %d s for %s", folder, FORMER_ENDS_WITHIN_S, held.found)
                said = True
            if waited_s > FORMER_ENDS_WITHIN_S:
                return  # the training itself tells who holds it
            time.sleep(LOOK_EVERY_S)
