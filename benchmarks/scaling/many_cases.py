"""What many small cases cost: time per case and memory of every command, on generated pictures of 32 x 32.

python -m benchmarks.scaling.many_cases EMPTY_FOLDER --cases 1000 5000 20000 > many_cases.json

Seconds are those of the processor, children included. Training is ended when it has said its first lines: all
that it reads before the first step is read then. 20,000 cases take about 1 GB of disk and half an hour; what
was made for one number of cases is removed before the next.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIDE = 32
FEW = 20  # cases that the model which predicts is trained on
STEPS = ("verify", "plan_and_preprocess", "again", "train", "evaluate", "predict")
ONE = ("--workers", "1")  # processes of a forkserver do not count as children
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
POLL_S, LONGEST_START_S = 0.05, 1800.0
MEGABYTE = 1e6


def main() -> None:
    """Print a JSON object: machine, date, and for every number of cases what every command took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for what is generated; removed again")
    parser.add_argument("--cases", type=int, nargs="+", default=[1000, 5000, 20000])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    arguments = parser.parse_args()
    results = about_here()
    model = _model(arguments.work / "few") if "predict" in arguments.steps else None
    for cases in arguments.cases:
        folder = arguments.work / str(cases)
        dataset = generate(folder / "raw" / "Dataset999_Many", cases)
        results[str(cases)] = {}
        for step in arguments.steps:
            results[str(cases)][step] = _measured(step, dataset, folder, model)
            print(cases, step, json.dumps(results[str(cases)][step]), file=sys.stderr, flush=True)
        shutil.rmtree(folder)
    shutil.rmtree(arguments.work / "few", ignore_errors=True)
    print(json.dumps(results, indent=1))


def about_here() -> dict[str, Any]:
    """Machine and date, to begin the results with."""
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "date": datetime.now(UTC).date().isoformat(),
    }


def generate(dataset: Path, cases: int) -> Path:
    """Grey pictures of a disk in noise, the disk as reference, and moved by a pixel as prediction."""
    for name in ("imagesTr", "labelsTr", "moved"):
        (dataset / name).mkdir(parents=True)
    row, column = np.mgrid[:SIDE, :SIDE]
    for number in range(cases):
        rng = np.random.default_rng(number)
        y, x, radius = rng.uniform(10, 22), rng.uniform(10, 22), rng.uniform(4, 8)
        disk = (row - y) ** 2 + (column - x) ** 2 < radius**2
        grey = np.clip(rng.normal(90, 20, (SIDE, SIDE)) + 70 * disk, 0, 255).astype(np.uint8)
        case = f"case_{number:06d}"
        Image.fromarray(grey).save(dataset / "imagesTr" / f"{case}_0000.png")
        Image.fromarray(disk.astype(np.uint8)).save(dataset / "labelsTr" / f"{case}.png")
        Image.fromarray(np.roll(disk, 1, axis=1).astype(np.uint8)).save(dataset / "moved" / f"{case}.png")
    description = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "disk": 1},
        "numTraining": cases,
        "file_ending": ".png",
    }
    (dataset / "dataset.json").write_text(json.dumps(description))
    return dataset


def _model(folder: Path) -> Path:
    """A model of two steps, to predict with."""
    dataset = generate(folder / "raw" / "Dataset999_Many", FEW)
    _run(["plan_and_preprocess", dataset, *_device(), "--preprocessed", folder / "preprocessed"])
    roots = ("--preprocessed", folder / "preprocessed", "--results", folder / "results")
    _run(["train", dataset, "--device", "cpu", "--max-steps", 2, *roots])
    return next((folder / "results").glob("*/*__balrsam"))


def _measured(step: str, dataset: Path, folder: Path, model: Path | None) -> dict[str, float]:
    preprocessed = folder / "preprocessed"
    if step in ("plan_and_preprocess", "again"):
        taken = prepare(dataset, preprocessed)
        return taken | {"files": sum(1 for path in preprocessed.rglob("*") if path.is_file())}
    if step == "verify":
        return _run(["verify", dataset, *ONE])
    if step == "train":
        return training_start(dataset, preprocessed, folder / "results")
    if step == "evaluate":
        output = folder / "scores"
        names = ("--labels", dataset / "dataset.json", "--output", output)
        taken = _run(["evaluate", dataset / "moved", dataset / "labelsTr", *names, *ONE])
        return taken | {"page_mb": (output / "report.html").stat().st_size / MEGABYTE}
    images, output = dataset / "imagesTr", folder / "predictions"
    return _run(["predict", "-i", images, "-o", output, "--model", model, "--device", "cpu"])


def prepare(dataset: Path, preprocessed: Path) -> dict[str, float]:
    """Check, measure, plan and preprocess, in one process."""
    return _run(["plan_and_preprocess", dataset, *ONE, *_device(), "--preprocessed", preprocessed])


def _device() -> tuple[str, ...]:
    return ("--gpu-memory-gb", "0", "--offline")


def _run(words: list[Any]) -> dict[str, float]:
    """Processor seconds and peak memory of a command; `ru_maxrss` is that of its largest process."""
    process = subprocess.Popen(_command(words), env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words[0]}: exit code {process.returncode}")
    return {
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "wall_s": round(time.monotonic() - began, 2),
        "peak_mb": round(usage.ru_maxrss * 1024 / MEGABYTE),
    }


def training_start(dataset: Path, preprocessed: Path, results: Path) -> dict[str, float]:
    """The same of a training until it has said its first lines."""
    words = ["train", dataset, "--device", "cpu", "--preprocessed", preprocessed, "--results", results]
    began = time.monotonic()
    process = subprocess.Popen(
        _command(words), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not any("into " in log.read_text() for log in results.rglob("log.txt")):
            if process.poll() is not None or time.monotonic() - began > LONGEST_START_S:
                raise SystemExit(f"train: no start, exit code {process.returncode}")
            time.sleep(POLL_S)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak_kib = int(status.partition("VmHWM:")[2].split()[0])
        return {
            "cpu_s": round((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), 2),
            "wall_s": round(time.monotonic() - began, 2),
            "peak_mb": round(peak_kib * 1024 / MEGABYTE),
        }
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _command(words: list[Any]) -> list[str]:
    return [sys.executable, "-m", "balrsam_pipeline", *map(str, words)]


if __name__ == "__main__":
    main()
