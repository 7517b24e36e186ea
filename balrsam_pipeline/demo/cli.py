"""The sub-command `demo`."""

from __future__ import annotations

import argparse
from pathlib import Path

from balrsam_pipeline.command import Command
from balrsam_pipeline.paths import Roots, find_dataset
from balrsam_pipeline.run.cli import run_all
from balrsam_pipeline.run.request import RunRequest

DEMO_CONFIGURATIONS = ("2d", "2.5d")  # two, so that there is something to ensemble


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `balrsam demo`."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("demo_data"),
        metavar="FOLDER",
        help="where all goes (default: ./demo_data)",
    )
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="FOLDER",
        help="run on this raw dataset folder instead of the generated one",
    )
    parser.add_argument(
        "--max-minutes", type=float, default=0.2, metavar="M", help="training minutes per fold (default: 0.2)"
    )
    parser.add_argument("--device", help="cuda, cpu, … (default: the best there is)")


def run(arguments: argparse.Namespace) -> int:
    """Run `balrsam demo`."""
    from balrsam_pipeline.demo.generate import generate_dataset

    output = arguments.output.resolve()
    roots = Roots(raw=output / "raw", preprocessed=output / "preprocessed", results=output / "results")
    if arguments.dataset:
        dataset, configurations = find_dataset(str(arguments.dataset), roots), None
        roots = Roots(raw=dataset.parent, preprocessed=roots.preprocessed, results=roots.results)
    else:
        dataset, configurations = generate_dataset(roots.raw), DEMO_CONFIGURATIONS
        print(f"The demo dataset: {dataset}")
    return run_all(
        RunRequest(
            dataset=dataset,
            roots=roots,
            configurations=configurations,
            max_minutes=arguments.max_minutes,
            device=arguments.device,
        )
    )


COMMANDS = {
    "demo": Command(
        summary="The main job, end to end, on a small generated dataset (two MR-like channels, two labels): "
        "minutes on a CPU.",
        example="balrsam demo\nbalrsam demo --dataset FOLDER/Dataset004_Hippocampus --max-minutes 2",
        add_arguments=add_arguments,
        run=run,
        long=True,
    )
}
