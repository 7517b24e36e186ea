"""A shell whose `balrsam` has everything loaded already: each command runs in a process of its own, forked
from one that computes nothing and so has one thread. For tests that type many commands.

usage: python -m support.warm_shell REQUESTS ANSWERS        two FIFOs: folder and words in, exit codes out
"""

from __future__ import annotations

import importlib
import os
import random
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path

LOADED = ("torch", "SimpleITK", "pandas", "scipy.stats", "scipy.ndimage", "matplotlib.pyplot", "blosc2")
OURS = ("planners.plan_and_preprocess", "trainers.fold", "trainers.crossval", "evaluation.cli")
SHELL = r"""set -eu
balrsam() {
    printf '%s\0' "$PWD" "$@" > "$REQUESTS"
    read -r code < "$ANSWERS"
    return "$code"
}
"""


def run_script(
    script: str, folder: Path, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a script in a folder; what it and its commands wrote is in `stdout`.

    It has one core, so commands do all themselves instead of waiting for workers to start.
    """
    fifos = {name: str(folder / name.lower()) for name in ("REQUESTS", "ANSWERS")}
    for fifo in fifos.values():
        os.mkfifo(fifo)
    said = folder / "said.txt"
    with said.open("a") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "support.warm_shell", *fifos.values()],
            cwd=Path(__file__).parents[1],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_take_one_core,
        )
        try:
            shell = subprocess.run(
                ["bash", "-c", SHELL + script],
                cwd=folder,
                env={**environment, **fifos},
                stdout=log,
                stderr=log,
                check=False,
                timeout=timeout_s,
            )
        finally:
            server.terminate()
            server.wait()
    return subprocess.CompletedProcess(script, shell.returncode, said.read_text(encoding="utf-8"))


def _take_one_core() -> None:
    os.sched_setaffinity(0, {random.choice(sorted(os.sched_getaffinity(0)))})


def main(requests: str, answers: str) -> None:
    """Answer requests until terminated."""
    for name in (*LOADED, *OURS):
        importlib.import_module(name)
    while True:
        folder, *words = Path(requests).read_text(encoding="utf-8").split("\0")[:-1]
        child = os.fork()
        if child == 0:
            os._exit(_run(folder, words))
        _, status = os.waitpid(child, 0)
        Path(answers).write_text(f"{os.waitstatus_to_exitcode(status)}\n", encoding="utf-8")


def _run(folder: str, words: list[str]) -> int:
    """A command as its console script runs it; its exit code."""
    from balrsam_pipeline.cli import main as balrsam

    os.chdir(folder)
    sys.argv = ["balrsam", *words]
    try:
        code = balrsam()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    main(*sys.argv[1:])
