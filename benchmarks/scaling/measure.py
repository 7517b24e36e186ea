"""Preprocessing, prediction and evaluation with 1 and 2 local workers and on a Dask cluster of 2 workers:
times, and equal bytes.

python -m benchmarks.scaling.measure DATASET_FOLDER --model RESULTS/DATASET/2d__balrsam --work EMPTY_FOLDER >
measured.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from balrsam_pipeline.imageio import read_label, write_label
from balrsam_pipeline.inference.model_folder import configuration_of
from benchmarks.scaling.task_times import task_times

ALONE = os.environ | {"OMP_NUM_THREADS": "1"}
MODES = {"1 local worker": ("--workers", "1"), "2 local workers": ("--workers", "2"), "2 Dask workers": ()}


def main() -> None:
    """Print a JSON object: seconds of every stage in every mode, whether outputs are equal, and the times of
    single cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="a raw dataset with imagesTs")
    parser.add_argument("--model", type=Path, required=True, help="a trained model folder of that dataset")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for outputs")
    parser.add_argument("--cases", type=int, default=40, help="cases timed one by one")
    arguments = parser.parse_args()
    references = arguments.dataset / "labelsTr"
    configuration = configuration_of(arguments.model)
    shifted = _shifted_labels(references, arguments.work / "shifted")
    seconds: dict[str, dict[str, float]] = {}
    hashes: dict[str, dict[str, str]] = {}
    with ExitStack() as stack:
        file = stack.enter_context(_cluster(arguments.work))
        for mode, words in MODES.items():
            where = words or ("--cluster", str(file))
            out = arguments.work / mode.replace(" ", "_")
            stages = {
                "preprocessing": [
                    "plan_and_preprocess",
                    arguments.dataset,
                    "--configurations",
                    configuration,
                    "--gpu-memory-gb",
                    "0",
                ],
                "prediction": [
                    "predict",
                    "-i",
                    arguments.dataset / "imagesTs",
                    "-o",
                    out / "predictions",
                    "--model",
                    arguments.model,
                ],
                "evaluation": ["evaluate", shifted, references, "--output", out / "evaluation"],
            }
            stages["preprocessing"] += ["--preprocessed", out / "preprocessed"]
            stages["prediction"] += ["--device", "cpu"]
            stages["evaluation"] += ["--labels", arguments.dataset / "dataset.json"]
            seconds[mode] = {stage: _timed([*map(str, command), *where]) for stage, command in stages.items()}
            folders = {
                "preprocessing": "preprocessed",
                "prediction": "predictions",
                "evaluation": "evaluation",
            }
            hashes[mode] = {stage: _tree_sha256(out / folder) for stage, folder in folders.items()}
    equal = {
        stage: len({found[stage] for found in hashes.values()}) == 1 for stage in next(iter(hashes.values()))
    }
    tasks = task_times(arguments.dataset, arguments.model, arguments.work / "single", arguments.cases)
    print(json.dumps({"seconds": seconds, "equal": equal, "load": os.getloadavg(), "tasks": tasks}, indent=1))


def _timed(words: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "balrsam_pipeline", *words], env=ALONE, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}: exit code {done.returncode}\n{done.stderr[-2000:]}")
    return round(time.perf_counter() - started, 2)


def _tree_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(
                str(path.relative_to(folder)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest()
            )
    return digest.hexdigest()


def _shifted_labels(references: Path, folder: Path) -> Path:
    """Predictions to score: the references, moved by one voxel."""
    for path in sorted(references.glob("*.nii.gz")):
        label = read_label(path)
        write_label(folder / path.name, np.roll(label.data[0], 1, axis=2), label.geometry)
    return folder


@contextmanager
def _cluster(folder: Path) -> Iterator[Path]:
    """A scheduler and two workers of one thread each on loopback."""
    file, python = folder / "scheduler.json", [sys.executable, "-m", "dask"]
    quiet = {"env": ALONE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [
        ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    ]
    commands += [
        [
            "worker",
            "--scheduler-file",
            str(file),
            "--nthreads",
            "1",
            "--no-dashboard",
            "--local-directory",
            str(folder),
        ]
    ] * 2
    processes = []
    try:
        for command in commands:
            processes.append(subprocess.Popen([*python, *command], **quiet))  # type: ignore[call-overload]
            while not file.is_file():
                time.sleep(0.1)
        import distributed

        with distributed.Client(scheduler_file=str(file), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
        yield file
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
