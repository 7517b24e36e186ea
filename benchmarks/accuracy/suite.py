"""Dice against core-minutes, for several datasets and methods: one fold, equal budgets, paired seeds.

    python benchmarks/accuracy/suite.py Dataset113_HC18 Dataset114_DSB2018 --minutes 5 20 --raw R --work WORK
    python benchmarks/accuracy/suite.py --table --work WORK

Methods are `default` (what the planner chooses), any backbone, MONAI's networks with our data, loss,
augmentation and budget (`basic_unet`, `segresnet`), and `nnunet_2d` and `nnunet_3d` (`--nnunet-python`
names the Python of its own virtual environment). Each result is a line of WORK/results.jsonl, written as
soon as it is known: the same command goes on where it was stopped. At the end, and with `--table`, a table
in Markdown is printed and WORK/suite.png drawn. One thread: set OMP_NUM_THREADS=1 for figures that compare.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import mean
from typing import Any

from compare import nnunet

from balrsam_pipeline.plan import Backbone

HERE = Path(__file__).resolve().parent
BACKBONES: tuple[Backbone, ...] = ("cnn", "vit_mini", "vit_t", "vit_b")
PEERS = ("basic_unet", "segresnet")  # of MONAI, in place of `cnn` (monai_peers.py)
NNUNET = {"nnunet_2d": "2d", "nnunet_3d": "3d_fullres"}
METHODS = ("default", *BACKBONES, *PEERS, *NNUNET)
KEY = ("dataset", "method", "budget", "seed")


def measured(work: Path) -> list[dict[str, Any]]:
    """The results so far."""
    path = work / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def measure(
    dataset: str, method: str, budget: float, seed: int, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Train and validate one method on one dataset."""
    if method in NNUNET:
        own = argparse.Namespace(
            raw=arguments.raw,
            work=arguments.work / f"{method}_{budget:g}_{seed}",
            nnunet_python=arguments.nnunet_python,
            fold=arguments.fold,
            minutes=budget,
        )
        return nnunet(dataset, NNUNET[method], own)
    folder = arguments.work / method
    roots = ["--raw", arguments.raw, "--preprocessed", folder / "preprocessed"]
    backbone = ["--backbone", "cnn" if method in PEERS else method] if method != "default" else []
    plan = ["plan_and_preprocess", dataset, *roots, "--gpu-memory-gb", "0", *backbone]
    command = [sys.executable, "-m", "balrsam_pipeline", *plan]
    subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
    settings = folder / f"seed_{seed}.json"
    peer = {"network_extension": f"monai_peers:{method}", "coarse_share": 0} if method in PEERS else {}
    settings.write_text(json.dumps({"seed": seed, **peer}))
    words = [
        HERE / "balrsam.py",
        dataset,
        "--fold",
        arguments.fold,
        "--minutes",
        budget,
        "--settings",
        settings,
    ]
    results = ["--results", folder / f"results_{budget:g}_{seed}"]
    done = subprocess.run(
        [sys.executable, *map(str, [*words, *roots, *results])], check=True, stdout=subprocess.PIPE, text=True
    )
    record: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{\n") :])
    return record


def table(records: Iterable[dict[str, Any]]) -> str:
    """A row for each dataset and budget, a column for each method: mean Dice over seeds, and how many."""
    scores: defaultdict[tuple[str, float], defaultdict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for record in records:
        row = scores.setdefault((record["dataset"], record["budget"]), defaultdict(list))
        row[record["method"]].append(record["dice"])
    methods = [method for method in METHODS if any(method in row for row in scores.values())]
    lines = [
        f"| dataset | core-minutes | {' | '.join(methods)} |",
        "|---" * (2 + len(methods)) + "|",
    ]
    for (dataset, budget), row in sorted(scores.items()):
        cells = [f"{mean(row[method]):.4f} ({len(row[method])})" if row[method] else "" for method in methods]
        lines.append(f"| {dataset} | {budget:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """Dice against core-minutes, a panel for each dataset, a line for each method."""
    from matplotlib import pyplot as plt

    datasets = sorted({record["dataset"] for record in records})
    figure, axes = plt.subplots(1, len(datasets), figsize=(4 * len(datasets), 3.5), squeeze=False)
    for axis, dataset in zip(axes[0], datasets, strict=True):
        for method in METHODS:
            points: defaultdict[float, list[float]] = defaultdict(list)
            for record in records:
                if (record["dataset"], record["method"]) == (dataset, method):
                    points[record["budget"]].append(record["dice"])
            if points:
                budgets = sorted(points)
                axis.plot(budgets, [mean(points[budget]) for budget in budgets], "o-", label=method)
        axis.set(title=dataset, xscale="log", xlabel="core-minutes", ylabel="Dice, fold 0")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Parse, measure what is missing, print the table, draw the plot."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("datasets", nargs="*")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["default"])
    parser.add_argument("--minutes", nargs="+", type=float, default=[5.0, 20.0, 60.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--nnunet-python", type=Path)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    wanted = [
        (dataset, method, budget, seed)
        for budget in arguments.minutes
        for dataset in arguments.datasets
        for method in arguments.methods
        for seed in arguments.seeds
    ]
    known = {tuple(record[name] for name in KEY) for record in measured(arguments.work)}
    for key in [] if arguments.table else [key for key in wanted if key not in known]:
        record = measure(*key, arguments) | dict(zip(KEY, key, strict=True))
        with (arguments.work / "results.jsonl").open("a") as file:
            file.write(json.dumps(record) + os.linesep)
    records = measured(arguments.work)
    if records:
        print(table(records))
        plot(records, arguments.work / "suite.png")


if __name__ == "__main__":
    main()
