"""Ours and nnU-Net, the same fold, the same CPU core-minutes, one after the other; both scored by `balrsam
evaluate`.

nnU-Net lives in a virtual environment of its own (torch, nnunetv2, psutil):

    python benchmarks/accuracy/compare.py Dataset004_Hippocampus --minutes 20 --nnunet-python VENV/bin/python
    --raw RAW --work FOLDER

Prints a Markdown table. FOLDER keeps what both wrote; ours continues there if it was stopped. Several
`--configurations` share the minutes equally, and `find_best_configuration` chooses among them and their
ensembles. Without `--nnunet-python` ours runs alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from balrsam_pipeline.dataset import read_description
from balrsam_pipeline.paths import model_folder, resolve_roots
from balrsam_pipeline.plan import read_plan
from evaluation import EvaluationOptions, evaluate_folders
from evaluation.best_configuration import BestRequest, find_best_configuration
from evaluation.best_configuration.ensembles import ensemble_folder

HERE = Path(__file__).resolve().parent


def ours(dataset: str, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Plan, train and validate ours: the record that balrsam.py prints for each configuration, and one for
    the best of several."""
    folders = _roots(arguments)
    roots = [f"--{name}={folder}" for name, folder in folders.items()]
    subprocess.run(
        [sys.executable, "-m", "balrsam_pipeline", "plan_and_preprocess", dataset, *roots],
        check=True,
        stdout=sys.stderr,
    )
    names = arguments.configurations or [
        read_plan(folders["preprocessed"] / dataset / "plan.json").default_configuration
    ]
    budget = ["--fold", str(arguments.fold), "--minutes", str(arguments.minutes / len(names))]
    script = [sys.executable, str(HERE / "balrsam.py"), dataset]
    records = [_json_of([*script, "--configuration", name, *budget, *roots], {}) for name in names]
    return records if len(records) == 1 else [*records, _best(dataset, names, arguments)]


def _best(dataset: str, names: list[str], arguments: argparse.Namespace) -> dict[str, object]:
    """What `find_best_configuration` chooses among the configurations and their ensembles; all of their
    minutes went into it."""
    folders = _roots(arguments)
    roots = resolve_roots(folders["raw"], folders["preprocessed"], folders["results"])
    request = BestRequest(
        dataset=arguments.raw / dataset, roots=roots, configurations=tuple(names), folds=(arguments.fold,)
    )
    best, _ = find_best_configuration(request)
    chosen = best.configurations
    if len(chosen) == 1:
        predicted = model_folder(roots, dataset, chosen[0]) / f"fold_{arguments.fold}" / "validation"
    else:
        predicted = ensemble_folder(roots.results / dataset, chosen, arguments.fold)
    record = {
        "method": "balrsam, the best:",
        "configuration": " + ".join(chosen),
        "core_minutes": arguments.minutes,
        "steps": "",
    }
    return {**record, **_scores(predicted, dataset, arguments)}


def nnunet(dataset: str, configuration: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Plan, train and validate nnU-Net, and score its validation as ours is scored."""
    folder = arguments.work / "nnunet"
    environment = {
        "nnUNet_raw": str(arguments.raw),
        "nnUNet_preprocessed": str(folder / "pre"),
        "nnUNet_results": str(folder / "res"),
    }
    words = [
        str(HERE / "nnunet.py"),
        dataset,
        "--fold",
        str(arguments.fold),
        "--minutes",
        str(arguments.minutes),
        "--configuration",
        configuration,
    ]
    record = _json_of([str(arguments.nnunet_python), *words], environment)
    return {**record, **_scores(Path(str(record["validation_folder"])), dataset, arguments)}


def _scores(predicted: Path, dataset: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Mean foreground Dice and HD95 of a folder of validation predictions."""
    description = read_description(arguments.raw / dataset / "dataset.json")
    ending = description.file_ending
    cases = sorted(path.name.removesuffix(ending) for path in predicted.glob(f"*{ending}"))
    references = arguments.raw / dataset / "labelsTr"
    mean = evaluate_folders(
        predicted, references, description.labels, ending, EvaluationOptions(), cases=cases
    ).foreground_mean
    return {"dice": mean.get("dice"), "hd95_mm": mean.get("hd95")}


def table(rows: list[dict[str, object]]) -> str:
    """The records as a Markdown table."""
    lines = ["| method | core-minutes | steps | Dice | HD95 (mm) |", "|---|---|---|---|---|"]
    for row in rows:
        name = f"{row['method']} {row['configuration']}" if "configuration" in row else str(row["method"])
        lines.append(
            f"| {name} | {row['core_minutes']} | {row['steps']} | {row['dice']:.4f} | {row['hd95_mm']:.3f} |"
        )
    return "\n".join(lines)


def _roots(arguments: argparse.Namespace) -> dict[str, Path]:
    return {
        "raw": arguments.raw,
        "preprocessed": arguments.work / "preprocessed",
        "results": arguments.work / "results",
    }


def _json_of(words: list[str], environment: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(
        words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )
    record: dict[str, object] = json.loads(
        done.stdout[done.stdout.index("\n{\n") if "\n{\n" in done.stdout else done.stdout.index("{") :]
    )
    return record


def main() -> None:
    """Parse, run both, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset")
    parser.add_argument("--configurations", nargs="+", metavar="NAME", help="ours (default: the plan's)")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0, help="CPU core-minutes of training a method")
    parser.add_argument("--nnunet-python", type=Path, help="python of the virtual environment with nnunetv2")
    parser.add_argument("--nnunet-configurations", nargs="+", default=["2d"], metavar="NAME")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    rows = ours(arguments.dataset, arguments)
    if arguments.nnunet_python:
        rows += [nnunet(arguments.dataset, name, arguments) for name in arguments.nnunet_configurations]
    print(table(rows))


if __name__ == "__main__":
    main()
