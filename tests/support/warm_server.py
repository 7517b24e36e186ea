"""Forks a process for each command that `warm.WarmPython` asks for; it computes nothing itself, so it has one
thread and can be forked."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from support.warm_shell import LOADED, OURS


def main() -> None:
    """Say when all is imported; then answer requests, a line of JSON each, with the process's id, until there
    are no more.

    Each command has a keeper between it and this server, which waits for it and writes down how it ended.
    """
    for name in (*LOADED, *OURS):
        importlib.import_module(name)
    gc.freeze()  # what is imported is shared with the processes to come, and not looked through in each
    os.write(1, b"ready\n")
    for line in sys.stdin:
        request = json.loads(line)
        _forget_ended()
        if os.fork() == 0:
            _keep(request)
    _forget_ended()


def _forget_ended() -> None:
    """Let go of keepers that have ended; what they computed counts as this process's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _keep(request: dict[str, Any]) -> NoReturn:
    child = os.fork()
    if child == 0:
        sys.exit(_run(request))
    os.write(1, f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    ended = Path(request["ended"])
    ended.with_suffix(".tmp").write_text(str(os.waitstatus_to_exitcode(status)))
    ended.with_suffix(".tmp").rename(ended)
    os._exit(0)


def _run(request: dict[str, Any]) -> int:
    """A command as its console script runs it, in a session of its own."""
    from balrsam_pipeline.cli import main as balrsam

    os.setsid()
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, name in enumerate((request["stdout"], request["stderr"]), 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)
    sys.argv = ["balrsam", *request["words"]]
    return balrsam()


if __name__ == "__main__":
    main()
