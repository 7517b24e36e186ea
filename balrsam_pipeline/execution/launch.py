"""`python -m balrsam_pipeline.execution.launch --processes N -- train …`: `balrsam train …` in N processes of
this machine, one per GPU, that a scheduler can stop and put into its queue again.

torchrun does not hand SIGUSR1 on, and its exit code is 1 however its processes end. Here TERM, INT and USR1
reach every rank, and 75 comes out where they saved.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from types import FrameType

from balrsam_pipeline.errors import STOPPED
from balrsam_pipeline.logs import log_to_stderr
from balrsam_pipeline.paths import rank_environment

LOG = logging.getLogger(__name__)
LOOK_EVERY_S = 0.2
SAVES_WITHIN_S = 300.0  # from the first rank that stopped on; one that waits for it in vain would hang


def launch(command: Sequence[str], processes: int) -> int:
    """Run `command` as ranks that know of each other, until all have ended.

    Each rank is held by a pipe (`supervise`): without this process, or when another rank failed, it gets
    SIGTERM, and a minute later SIGKILL. Ranks have sessions of their own, so that a signal to this process
    group reaches them once.

    Returns:
        0 where all ranks end so; 75 where the others were stopped; else the code of the first that failed
        (128 + the signal that killed it).
    """
    ranks: list[subprocess.Popen[bytes]] = []
    asked: list[int] = []

    def hand_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        for rank in ranks:
            rank.send_signal(number)

    for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
        if hasattr(signal, name):  # Windows has the first two
            signal.signal(signal.Signals[name], hand_on)
    port = _free_port()
    for number in range(processes):
        if not asked:  # else it ends before it has begun
            ranks.append(_started(command, number, processes, port))
    if len(ranks) < processes:
        _let_go(ranks)
    return _wait(ranks, asked)


def _started(command: Sequence[str], rank: int, processes: int, port: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "balrsam_pipeline.execution.supervise", *command],
        stdin=subprocess.PIPE,
        env=rank_environment(rank, processes, port),
        start_new_session=True,
    )


def _free_port() -> int:
    with closing(socket.socket()) as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _wait(ranks: Sequence[subprocess.Popen[bytes]], asked: Sequence[int]) -> int:
    """Wait for all ranks, letting go of those that wait for one that has ended; the exit code of all."""
    codes: dict[int, int] = {}  # of ranks, in the order in which they ended
    failed, until = 0, float("inf")
    while len(codes) < len(ranks):
        for number, rank in enumerate(ranks):
            ended = None if number in codes else rank.poll()
            if ended is None:
                continue
            codes[number] = code = ended if ended >= 0 else 128 - ended
            by_signal = code - 128 in asked  # before it could hear signals: as well as stopped
            if code == STOPPED or by_signal:
                until = min(until, time.monotonic() + SAVES_WITHIN_S)
            elif code and not failed:
                LOG.error("rank %d ended with exit code %d%s", number, code, _signal_name(code))
                failed = code
        if failed or time.monotonic() > until:
            _let_go(ranks)
        time.sleep(LOOK_EVERY_S)
    if failed and not (asked and codes[0] == STOPPED):  # the first rank is the one that saves
        return failed
    return STOPPED if any(codes.values()) or not codes else 0


def _let_go(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    for rank in ranks:
        if rank.stdin is not None:
            rank.stdin.close()


def _signal_name(code: int) -> str:
    """(SIGKILL) for 137, nothing for codes that name no signal."""
    known = {128 + number: f" ({number.name})" for number in signal.Signals}
    return known.get(code, "")


def main() -> int:
    """Read the command line and launch."""
    parser = argparse.ArgumentParser(prog="python -m balrsam_pipeline.execution.launch")
    parser.add_argument("--processes", type=int, required=True, metavar="N", help="one per GPU")
    parser.add_argument("words", nargs="+", help="of balrsam, after --: train 4 --fold 0")
    arguments = parser.parse_args()
    if arguments.processes < 1:
        parser.error(f"--processes {arguments.processes}: expected 1 or more; does the scheduler give a GPU?")
    log_to_stderr()
    return launch([sys.executable, "-m", "balrsam_pipeline", *arguments.words], arguments.processes)


if __name__ == "__main__":
    sys.exit(main())
