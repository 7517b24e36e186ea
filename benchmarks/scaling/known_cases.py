"""What planning and evaluating 100,000 small pictures hold in memory, without reading so many: 20 are read,
and what is found out about them stands for the others.

python -m benchmarks.scaling.known_cases EMPTY_FOLDER --cases 20000 100000 > known_cases.json

The files of the others are links, looked for and listed as any. Seconds are those of the processor: of all
that is done for a case but reading, checking, measuring, preprocessing and scoring it, which `many_cases.py`
measures. From 1,000 cases on, where small ones share files; 100,000 take 100 MB of disk and a few minutes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.scaling.linked_cases import name_of
from benchmarks.scaling.many_cases import MEGABYTE, about_here, generate

REAL = 20
Command = Callable[[Path, Path], list[str]]


def main() -> None:
    """Print a JSON object: machine, date, and for every number of cases what each command took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for what is generated; removed again")
    parser.add_argument("--cases", type=int, nargs="+", default=[20_000, 100_000])
    arguments = parser.parse_args()
    results: dict[str, Any] = about_here()
    real = generate(arguments.work / "few" / "Dataset999_Many", REAL)
    for cases in arguments.cases:
        dataset = link(real, arguments.work / str(cases) / "Dataset999_Many", cases)
        results[str(cases)] = {}
        for name, command in COMMANDS.items():
            results[str(cases)][name] = measured(command(dataset, dataset.parent))
            print(cases, name, json.dumps(results[str(cases)][name]), file=sys.stderr, flush=True)
        page = (dataset.parent / "scores" / "report.html").stat().st_size
        results[str(cases)]["page_mb"] = round(page / MEGABYTE, 1)
        shutil.rmtree(dataset.parent)
    shutil.rmtree(arguments.work)
    print(json.dumps(results, indent=1))


def plan(dataset: Path, work: Path) -> list[str]:
    """The words of a planning."""
    options = ["--workers", "1", "--gpu-memory-gb", "0", "--offline"]
    return ["plan_and_preprocess", str(dataset), *options, "--preprocessed", str(work / "preprocessed")]


def evaluate(dataset: Path, work: Path) -> list[str]:
    """The words of an evaluation."""
    folders = [str(dataset / "moved"), str(dataset / "labelsTr"), "--output", str(work / "scores")]
    return ["evaluate", *folders, "--labels", str(dataset / "dataset.json"), "--workers", "1"]


COMMANDS: dict[str, Command] = {"plan_and_preprocess": plan, "again": plan, "evaluate": evaluate}


def link(real: Path, dataset: Path, cases: int) -> Path:
    """A dataset of so many cases whose files are links to those of `REAL` ones."""
    for folder, suffix in (("imagesTr", "_0000.png"), ("labelsTr", ".png"), ("moved", ".png")):
        (dataset / folder).mkdir(parents=True)
        for number in range(cases):
            one = real / folder / f"{name_of(number % REAL)}{suffix}"
            os.link(one, dataset / folder / f"{name_of(number)}{suffix}")
    description = json.loads((real / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps(description | {"numTraining": cases}))
    return dataset


def measured(words: list[str]) -> dict[str, float]:
    """Seconds and peak memory of a command in a process of its own."""
    context = multiprocessing.get_context("spawn")
    mine, other = context.Pipe()
    process = context.Process(target=_run, args=(words, other))
    process.start()
    other.close()
    taken: dict[str, float] = mine.recv()
    process.join()
    return taken


def _run(words: list[str], results: Any) -> None:
    import evaluation.scoring
    import planners.preprocess
    import planners.scan
    from balrsam_pipeline.cli import main as balrsam

    planners.scan.scan_case = partial(_scanned, {}, planners.scan.scan_case)  # type: ignore[assignment]
    planners.preprocess.preprocess_task = partial(  # type: ignore[assignment]
        _packed, {}, planners.preprocess.preprocess_task
    )
    evaluation.scoring._score = partial(_scored, {}, evaluation.scoring._score)  # type: ignore[assignment]
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        failed = balrsam(words)
    if failed:
        raise SystemExit(f"{words[0]} failed")
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results.send({"cpu_s": round(time.process_time(), 1), "peak_mb": round(peak_kib * 1024 / MEGABYTE)})


def _like(known: dict[int, bytes], function: Callable[[Any], Any], task: Any, case: str) -> Any:
    """What `function` finds out about the real case that this one is a link to, in memory of its own."""
    number = int(case.rpartition("_")[2]) % REAL
    if number not in known:
        known[number] = pickle.dumps(function(task))
    return pickle.loads(known[number])


def _scanned(known: dict[int, bytes], function: Callable[[Any], Any], task: Any) -> Any:
    case = task.files.case
    found, own = _like(known, function, task, case), sha256(case.encode()).hexdigest()
    measurement = found.measurement
    if measurement is not None:
        fingerprint = replace(measurement.fingerprint, case=case, content_sha256=own)
        measurement = replace(measurement, fingerprint=fingerprint)
    return replace(found, facts=replace(found.facts, case=case, image_sha256=own), measurement=measurement)


def _packed(known: dict[int, bytes], function: Callable[[Any], Any], task: Any) -> Any:
    return replace(_like(known, function, task, task.files.case), recipe_sha256=task.recipe_sha256)


def _scored(known: dict[int, bytes], function: Callable[[Any], Any], task: Any) -> Any:
    found = _like(known, function, task, task.pair.case)
    return replace(found, rows=tuple(replace(row, case=task.pair.case) for row in found.rows))


if __name__ == "__main__":
    main()
