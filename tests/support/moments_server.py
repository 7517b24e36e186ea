"""Forks a process for each command that `moments.Stage` asks for; it computes nothing itself, so it has one
thread and can be forked."""

from __future__ import annotations

import importlib
import json
import mmap
import os
import signal
import sys
from pathlib import Path
from typing import Any

CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.utime", "os.link"})
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
LOADED = ("torch", "SimpleITK", "pandas", "scipy.stats", "scipy.ndimage", "matplotlib.pyplot", "blosc2")
OURS = ("planners.plan_and_preprocess", "trainers.fold", "trainers.crossval", "evaluation.cli")
LONGEST_S = 600


def main() -> None:
    """Answer requests, a line of JSON each, until there are no more."""
    for name in (*LOADED, *OURS):
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        changes = mmap.mmap(-1, 8)
        child = os.fork()
        if child == 0:
            os._exit(_run(request, changes))
        _, status = os.waitpid(child, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "changes": int.from_bytes(changes[:8], "little")}
        print(json.dumps(answer), flush=True)


def _run(request: dict[str, Any], changes: mmap.mmap) -> int:
    folder, moment, by = request["folder"], request["moment"], request["by"]
    signal.alarm(LONGEST_S)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        path = arguments[0] if arguments else None
        counts = event in CHANGES or (event == "open" and bool((arguments[2] or 0) & WRITING))
        if not counts or not isinstance(path, (str, bytes, os.PathLike)):  # by descriptor: opened before
            return
        if not str(Path.cwd() / os.fsdecode(path)).startswith(folder):
            return
        number = int.from_bytes(changes[:8], "little") + 1
        changes[:8] = number.to_bytes(8, "little")
        if number == moment:
            os.kill(os.getpid(), by)

    sys.addaudithook(count)
    from balrsam_pipeline.cli import main as balrsam

    try:
        code = balrsam(request["words"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # what would be a traceback
        import traceback

        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main()
