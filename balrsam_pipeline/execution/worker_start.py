"""Starting the server that worker processes are forked from while this process still imports. Imports nothing
heavy."""

from __future__ import annotations

import multiprocessing
from multiprocessing import forkserver

_MODULES = ["blosc2", "planners.scan", "planners.preprocess"]


def start_workers_early() -> None:
    """Let the fork server import what workers need, once for all of them; nothing happens where there is no
    fork server."""
    if "forkserver" in multiprocessing.get_all_start_methods():
        multiprocessing.set_forkserver_preload(_MODULES)
        forkserver.ensure_running()
