"""LiteMedSAM adapted (its encoder frozen, what it computes of a slice kept) against networks from scratch:
the same training cases, the same core-minutes, encoding included, each with its own plan.

    python benchmarks/accuracy/adapted.py Dataset113_HC18 --cases 5 --minutes 2 --seeds 0 1 2 --raw RAW
    --work FOLDER

Prints a JSON line for each network and seed. The cases are the first of the fold's training cases after a
shuffle with seed 0; validation is the whole fold's. Every run encodes anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from balrsam import measure

from balrsam_pipeline.allocator import keep_freed_memory
from balrsam_pipeline.dataset import Fold, read_folds, write_folds
from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.paths import Roots, find_dataset, resolve_roots
from balrsam_pipeline.plan import Backbone, read_plan
from trainers import TrainingConfig, TrainRequest, read_training_config

BACKBONES: tuple[Backbone, ...] = ("vit_t", "cnn", "vit_mini")


def prepare(
    dataset: str, backbone: Backbone, raw: Path, work: Path, input_size: Sequence[int] | None = None
) -> Roots:
    """Plan and preprocess for a backbone, in a folder of its own; on a CPU, whatever the machine has."""
    preprocessed = work / backbone / "preprocessed"
    if not PreprocessedFolder(preprocessed / dataset).folds.is_file():
        command = [sys.executable, "-m", "balrsam_pipeline", "plan_and_preprocess", dataset]
        options = [
            "--backbone",
            backbone,
            "--gpu-memory-gb",
            "0",
            "--raw",
            raw,
            "--preprocessed",
            preprocessed,
            *(["--input-size", *input_size] if input_size else []),
        ]
        subprocess.run([*command, *map(str, options)], check=True, stdout=sys.stderr)
    return resolve_roots(raw, preprocessed, work / backbone / "results")


def fewer_cases(folds: Sequence[Fold], count: int | None) -> list[Fold]:
    """The folds with `count` training cases each: settings follow the largest of them."""
    shuffled = [np.random.default_rng(0).permutation(sorted(fold.train)).tolist() for fold in folds]
    return [
        dataclasses.replace(fold, train=tuple(sorted(cases[:count])))
        for fold, cases in zip(folds, shuffled, strict=True)
    ]


def run(
    dataset: str, backbone: Backbone, seed: int, roots: Roots, arguments: argparse.Namespace
) -> dict[str, object]:
    """Train and validate one network with one seed; what earlier runs kept of the encoder goes first."""
    source = roots.preprocessed / dataset
    target = roots.results / f"seed_{seed}" / "preprocessed" / dataset
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in source.iterdir():
        (target / path.name).symlink_to(path.resolve())
    folds = PreprocessedFolder(target).folds
    folds.unlink()
    chosen = fewer_cases(read_folds(PreprocessedFolder(source).folds), arguments.cases)
    write_folds(folds, chosen)
    plan = read_plan(PreprocessedFolder(target).plan)
    config = dataclasses.replace(
        read_training_config(arguments.settings) if arguments.settings else TrainingConfig(),
        seed=seed,
        max_minutes=arguments.minutes,
        max_steps=arguments.steps,
        epochs=None,
        budget_clock="cpu",
    )
    own = dataclasses.replace(roots, preprocessed=target.parent, results=target.parent.parent / "results")
    result = measure(
        TrainRequest(
            dataset=find_dataset(dataset, roots),
            roots=own,
            configuration=arguments.configuration,
            fold=arguments.fold,
            config=config,
            device="cpu",
            workers=0,  # loader processes would work outside the budget
        )
    )
    network = plan.configuration(arguments.configuration or plan.default_configuration).network
    shown = ("dataset", "configuration", "fold", "core_minutes", "steps", "dice", "hd95_mm")
    return {
        "backbone": backbone,
        "seed": seed,
        "training_cases": len(chosen[arguments.fold].train),
        "input_size": network.input_size,
        **{name: result[name] for name in shown},
    }


def main() -> None:
    """Parse, prepare both, train each with every seed, print a line each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--cases", type=int, help="training cases (default: all of the fold)")
    parser.add_argument("--minutes", type=float, default=5.0, help="core-minutes of training a run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--backbones", nargs="+", choices=BACKBONES, default=["vit_t", "cnn"])
    parser.add_argument("--configuration", help="default: each plan's own")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--steps", type=int, help="end after as many steps, whatever the minutes")
    parser.add_argument("--settings", type=Path, help="training settings other than the defaults (JSON)")
    parser.add_argument("--input-size", type=int, nargs=1, metavar="PIXELS", help="instead of the plan's own")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    keep_freed_memory()  # as `balrsam train` does
    for backbone in arguments.backbones:
        roots = prepare(arguments.dataset, backbone, arguments.raw, arguments.work, arguments.input_size)
        for seed in arguments.seeds:
            print(json.dumps(run(arguments.dataset, backbone, seed, roots, arguments)), flush=True)


if __name__ == "__main__":
    main()
