"""Where worker processes come from: a fork server, because forking a process that has started threads can
deadlock. It outlives signals that ask the whole process group to stop, as schedulers send them.

If it died its workers would seem dead too: they are waited for through it.
"""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.context import BaseContext

STOPS = [signal.Signals[name] for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]


def worker_context() -> BaseContext:
    """What starts worker processes. Signals that ask to stop wait until one asks for them (`hear_stops`);
    where there is no fork server, processes start anew and hear them."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    start_fork_server()
    return multiprocessing.get_context("forkserver")


def start_fork_server() -> None:
    """Start the fork server, unless it runs, so that signals that ask to stop wait, there and in its
    children: a process inherits which signals wait."""
    from multiprocessing import forkserver, resource_tracker  # which Windows has no use for

    former = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        resource_tracker.ensure_running()  # which lets SIGTERM and SIGINT through when it has begun
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def hear_stops() -> None:
    """In a worker: let signals that ask to stop act as in any process, those that came so far too."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
