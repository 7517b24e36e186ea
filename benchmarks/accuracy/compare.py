"""Ours and nnU-Net 2d, the same fold, the same CPU core-minutes, one after the other; both scored by `balrsam evaluate`.

nnU-Net lives in a virtual environment of its own (torch, nnunetv2, psutil):

    python benchmarks/accuracy/compare.py Dataset004_Hippocampus --minutes 20 --nnunet-python VENV/bin/python --raw RAW --work FOLDER

Prints a Markdown table. FOLDER keeps what both wrote; ours continues there if it was stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from balrsam_pipeline.dataset import read_description
from evaluation import EvaluationOptions, evaluate_folders

HERE = Path(__file__).resolve().parent


def ours(dataset: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Plan, train and validate ours; the record that balrsam.py prints."""
    roots = [f"--{name}={folder}" for name, folder in _roots(arguments).items()]
    subprocess.run([sys.executable, "-m", "balrsam_pipeline", "plan_and_preprocess", dataset, *roots], check=True, stdout=sys.stderr)
    chosen = ["--configuration", arguments.configuration] if arguments.configuration else []
    words = [str(HERE / "balrsam.py"), dataset, "--fold", str(arguments.fold), "--minutes", str(arguments.minutes), *chosen, *roots]
    return _json_of([sys.executable, *words], {})


def nnunet(dataset: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Plan, train and validate nnU-Net 2d, and score its validation as ours is scored."""
    folder = arguments.work / "nnunet"
    environment = {"nnUNet_raw": str(arguments.raw), "nnUNet_preprocessed": str(folder / "pre"), "nnUNet_results": str(folder / "res")}
    words = [str(HERE / "nnunet_2d.py"), dataset, "--fold", str(arguments.fold), "--minutes", str(arguments.minutes)]
    record = _json_of([str(arguments.nnunet_python), *words], environment)
    description = read_description(arguments.raw / dataset / "dataset.json")
    validation = Path(str(record["validation_folder"]))
    cases = sorted(path.name.removesuffix(description.file_ending) for path in validation.glob(f"*{description.file_ending}"))
    references = arguments.raw / dataset / "labelsTr"
    summary = evaluate_folders(validation, references, description.labels, description.file_ending, EvaluationOptions(), cases=cases)
    mean = summary.foreground_mean
    return {**record, "dice": mean.get("dice"), "hd95_mm": mean.get("hd95")}


def table(rows: list[dict[str, object]]) -> str:
    """The records as a Markdown table."""
    lines = ["| method | core-minutes | steps | Dice | HD95 (mm) |", "|---|---|---|---|---|"]
    for row in rows:
        name = f"{row['method']} {row['configuration']}" if "configuration" in row else str(row["method"])
        lines.append(f"| {name} | {row['core_minutes']} | {row['steps']} | {row['dice']:.4f} | {row['hd95_mm']:.3f} |")
    return "\n".join(lines)


def _roots(arguments: argparse.Namespace) -> dict[str, Path]:
    return {"raw": arguments.raw, "preprocessed": arguments.work / "preprocessed", "results": arguments.work / "results"}


def _json_of(words: list[str], environment: dict[str, str]) -> dict[str, object]:
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    record: dict[str, object] = json.loads(done.stdout[done.stdout.index("\n{\n") if "\n{\n" in done.stdout else done.stdout.index("{") :])
    return record


def main() -> None:
    """Parse, run both, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--configuration", help="ours (default: the plan's)")
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=20.0, help="CPU core-minutes of training a method")
    parser.add_argument("--nnunet-python", type=Path, required=True, help="python of the virtual environment with nnunetv2")
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    arguments = parser.parse_args()
    print(table([ours(arguments.dataset, arguments), nnunet(arguments.dataset, arguments)]))


if __name__ == "__main__":
    main()
