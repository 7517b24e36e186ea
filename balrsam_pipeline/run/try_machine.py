"""The machine, tried for a second or two before it trains for hours."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.files import read_json
from balrsam_pipeline.run.execute import FINISHED, Command
from balrsam_pipeline.run.request import RunRequest
from balrsam_pipeline.run.words import plan_words, where_words

COMMAND = "check_machine"
LENGTHS = ("--max-steps", "--batch-size")  # options of training that change how long it takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Whether nothing falls short, and seconds that a fold trains by the steps that were tried; None where
    that is not known."""

    good: bool
    fold_s: float | None = None


def try_machine(request: RunRequest, note: Callable[[str], None], command: Command) -> Tried:
    """Run `check_machine --short`.

    Args:
        note: notes a line in the run's log.
        command: runs a sub-command here. Where folds train in processes of their own on several GPUs, it is
            run in one of its own too: what it takes of a GPU's memory ends with it.
    """
    configuration = ("--configuration", request.configurations[0]) if request.configurations else ()
    words = (str(request.dataset), "--short", *configuration, *plan_words(request), *where_words(request))
    try:
        apart = any(device != "cpu" for device in request.devices)
        with tempfile.TemporaryDirectory(prefix="balrsam-tried-") as folder:
            figures = Path(folder) / "machine.json"
            words += ("--json", str(figures))
            code = _apart(words) if apart else command(COMMAND, words, note)
            return Tried(good=code == FINISHED, fold_s=_fold_s(request, figures))
    except Exception as problem:  # a check must not stop what it checks for
        note(f"{COMMAND}: {type(problem).__name__}: {problem}")
        return Tried(good=False)


def _fold_s(request: RunRequest, file: Path) -> float | None:
    """How long a fold trains as it was asked for, by the figures of `check_machine`; None where they do not
    say, or settings decide how long."""
    others = request.options.get("train", {}).keys() & set(LENGTHS)
    if request.max_minutes is not None or request.settings is not None or others or not file.is_file():
        return None
    found = {name: value for each in read_json(file)["findings"] for name, value in each["figures"].items()}
    if "planned_s" not in found:
        return None
    return float(found["planned_s"] if request.epochs is None else request.epochs * found["epoch_s"])


def _apart(words: tuple[str, ...]) -> int:
    """Run the command in a process of its own."""
    return subprocess.run((sys.executable, "-m", "balrsam_pipeline", COMMAND, *words), check=False).returncode
