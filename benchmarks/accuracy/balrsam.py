"""Ours: one fold trained for a budget of CPU core-minutes, then its whole-image validation. The dataset must
be preprocessed.

python benchmarks/accuracy/balrsam.py Dataset004_Hippocampus --minutes 20 --raw … --preprocessed … --results …
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import time
from pathlib import Path

import torch

from balrsam_pipeline.allocator import keep_freed_memory
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.paths import find_dataset, resolve_roots
from trainers import TrainingConfig, TrainRequest, read_training_config, train_fold


def measure(request: TrainRequest) -> dict[str, object]:
    """Train and validate, and say what came of it."""
    wall = time.monotonic()
    result = train_fold(request)
    run = read_json(result.folder / "run.json", TrainingError)
    mean = result.summary.foreground_mean if result.summary is not None else {}
    return {
        "method": "balrsam",
        "dataset": request.dataset.name,
        "configuration": run["configuration"],
        "fold": request.fold,
        "core_minutes": round(run["training_s"] / 60, 2),
        "steps": run["steps"],
        "dice": mean.get("dice"),
        "hd95_mm": mean.get("hd95"),
        "wall_minutes_with_validation": round((time.monotonic() - wall) / 60, 2),
        "threads": torch.get_num_threads(),
        "settings": run["settings"],
    }


def main() -> None:
    """Parse, measure, print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--configuration")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0, help="CPU core-minutes of training")
    parser.add_argument("--settings", type=Path)
    for name in ("raw", "preprocessed", "results"):
        parser.add_argument(f"--{name}", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    keep_freed_memory()  # as `balrsam train` does
    roots = resolve_roots(arguments.raw, arguments.preprocessed, arguments.results)
    config = read_training_config(arguments.settings) if arguments.settings else TrainingConfig()
    config = dataclasses.replace(config, max_minutes=arguments.minutes, epochs=None, budget_clock="cpu")
    request = TrainRequest(
        dataset=find_dataset(arguments.dataset, roots),
        roots=roots,
        configuration=arguments.configuration,
        fold=arguments.fold,
        config=config,
        device="cpu",
        workers=0,  # loader processes would work outside the budget
    )
    print(json.dumps(measure(request), indent=2))


if __name__ == "__main__":
    main()
