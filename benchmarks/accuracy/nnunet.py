"""The peer: nnU-Net 2.8 `2d` or `3d_fullres`, trained for a budget of CPU core-minutes on one fold, then its
own whole-image validation.

Runs inside a virtual environment that has nnunetv2 and psutil (it wants one of its own), with nnU-Net's three
environment variables set. The learning rate follows nnU-Net's poly schedule over the budget instead of over
epochs; nothing else is changed but the batch size, so that it gets enough steps.

    nnUNet_raw=… nnUNet_preprocessed=… nnUNet_results=… python benchmarks/accuracy/nnunet.py
    Dataset004_Hippocampus --minutes 20
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("nnUNet_n_proc_DA", "1")

import psutil
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.run.run_training import get_trainer_from_args
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id

BATCH_SIZES = {"2d": 32, "3d_fullres": 2}


def core_minutes() -> float:
    """CPU minutes that this process and its workers have used so far."""
    process = psutil.Process()
    times = [process.cpu_times(), *(child.cpu_times() for child in process.children(recursive=True))]
    return sum(t.user + t.system for t in times) / 60


def train(arguments: argparse.Namespace) -> dict[str, object]:
    """Train for the core-minutes and validate; returns what was done and nnU-Net's own validation Dice."""
    dataset, fold, minutes = arguments.dataset, arguments.fold, arguments.minutes
    batch_size = arguments.batch_size or BATCH_SIZES[arguments.configuration]
    trainer = get_trainer_from_args(dataset, arguments.configuration, fold, device=torch.device("cpu"))
    trainer.configuration_manager.configuration["batch_size"] = batch_size
    if not arguments.mirror:
        original = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size

        def without_mirroring() -> tuple[object, ...]:
            rotation, dummy, patch, _ = original()
            trainer.inference_allowed_mirroring_axes = None
            return rotation, dummy, patch, None

        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size = without_mirroring
    trainer.initialize()
    trainer.on_train_start()
    started, used, steps = core_minutes(), 0.0, 0
    wall = time.monotonic()
    trainer.network.train()
    while used < minutes:
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.initial_lr * (1 - used / minutes) ** 0.9
        trainer.train_step(next(trainer.dataloader_train))
        steps += 1
        used = core_minutes() - started
    wall = time.monotonic() - wall
    trainer.on_train_end()
    trainer.perform_actual_validation()
    validation = Path(trainer.output_folder) / "validation"
    summary = json.loads((validation / "summary.json").read_text(encoding="utf-8"))
    return {
        "method": f"nnU-Net {arguments.configuration}",
        "dataset": dataset,
        "fold": fold,
        "core_minutes": round(used, 2),
        "wall_minutes": round(wall / 60, 2),
        "steps": steps,
        "batch_size": batch_size,
        "mirroring": arguments.mirror,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "dice": summary["foreground_mean"]["Dice"],
        "validation_folder": str(validation),
    }


def main() -> None:
    """Plan and preprocess where that has not been done, train, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20, help="CPU core-minutes of training")
    parser.add_argument("--configuration", choices=BATCH_SIZES, default="2d")
    parser.add_argument("--batch-size", type=int, help=f"default: {BATCH_SIZES}")
    parser.add_argument("--mirror", action="store_true")
    arguments = parser.parse_args()
    number = convert_dataset_name_to_id(arguments.dataset)
    if not (
        Path(nnUNet_preprocessed) / arguments.dataset / f"nnUNetPlans_{arguments.configuration}"
    ).is_dir():
        extract_fingerprints([number], num_processes=2)
        plan_experiments([number])
        preprocess([number], configurations=(arguments.configuration,), num_processes=(2,))
    print(json.dumps(train(arguments), indent=2))


if __name__ == "__main__":
    main()
