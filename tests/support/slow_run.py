"""`balrsam` with a nap in each phase of a run, and progress told each tenth of a second instead of each 10 s.

usage: python slow_run.py WORDS…        standard error says where a nap begins and ends
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from balrsam_pipeline import progress
from balrsam_pipeline.cli import main

NAP_S, SAY_EVERY_S = 1.0, 0.1
SLOWED = {  # phase -> what takes a nap in it, once
    "checking": "planners.scan scan_case",
    "planning": "planners.plan_and_preprocess _plan",
    "preprocessing": "planners.preprocess preprocess_task",
    "training": "trainers.trainer Trainer.step",
    "validation": "trainers.validation predict_files",
    "validation scores": "trainers.validation evaluate_pairs",
    "choice": "evaluation.best_configuration.find choose_postprocessing",
    "prediction": "balrsam_pipeline.inference.predict_cases _predict_case",
    "scoring": "evaluation.scoring _score",
}


def slow_down(phase: str, place: str) -> None:
    """Let a function sleep before its first call."""
    module, name = place.split()
    owner: Any = importlib.import_module(module)
    *outer, name = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    function: Callable[..., Any] = getattr(owner, name)
    slept: list[str] = []

    def napping(*arguments: Any, **named: Any) -> Any:
        if not slept:
            slept.append(phase)
            os.write(2, f"nap of {phase} begins\n".encode())  # whole, whoever else is writing
            time.sleep(NAP_S)
            os.write(2, f"nap of {phase} ends\n".encode())
        return function(*arguments, **named)

    setattr(owner, name, napping)


if __name__ == "__main__":
    progress.SAY_EVERY_S = SAY_EVERY_S
    for phase, place in SLOWED.items():
        slow_down(phase, place)
    sys.exit(main(sys.argv[1:]))
