"""The machine, tried for a second or two before it trains for hours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from balrsam_pipeline.run.execute import FINISHED, Command
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.words import plan_words, where_words

COMMAND = "check_machine"


def try_machine(request: RunRequest, note: Callable[[str], None], command: Command) -> bool:
    """Run `check_machine --short`; whether nothing falls short.

    Args:
        note: notes a line in the run's log.
        command: runs a sub-command here. Where folds train in processes of their own on several GPUs, it is
            run in one of its own too: what it takes of a GPU's memory ends with it.
    """
    configuration = ("--configuration", request.configurations[0]) if request.configurations else ()
    words = (str(request.dataset), "--short", *configuration, *plan_words(request), *where_words(request))
    try:
        apart = any(device != "cpu" for device in request.devices)
        return (_apart(words) if apart else command(COMMAND, words, note)) == FINISHED
    except Exception as problem:  # a check must not stop what it checks for
        note(f"{COMMAND}: {type(problem).__name__}: {problem}")
        return False


def _apart(words: tuple[str, ...]) -> int:
    """Run the command in a process of its own."""
    return subprocess.run((sys.executable, "-m", "balrsam_pipeline", COMMAND, *words), check=False).returncode
