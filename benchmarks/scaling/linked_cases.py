"""What training reads of 100,000 cases before its first step, without preprocessing so many: 1,000 are
generated and preprocessed, and stand under other names for the others.

python -m benchmarks.scaling.linked_cases EMPTY_FOLDER --cases 1000 100000 > linked_cases.json

The raw files of the others are links, the packs hold copies; to training they are cases like any other.
100,000 take about half a gigabyte of disk.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

from balrsam_pipeline.dataset import folds_of, open_dataset, write_folds
from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.plan import read_plan
from balrsam_pipeline.preprocessing import (
    CaseStore,
    PackEntry,
    pack_of,
    read_entry,
    read_index,
    store_folder,
    write_pack,
)
from benchmarks.scaling.many_cases import about_here, generate, prepare, training_start

REAL, OF_A_PACK = 1000, 256


def main() -> None:
    """Print a JSON object: machine, date, and for every number of cases what the start of training took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path, help="a folder for what is generated; removed again")
    parser.add_argument("--cases", type=int, nargs="+", default=[REAL, 100_000])
    arguments = parser.parse_args()
    results: dict[str, Any] = about_here()
    dataset = generate(arguments.work / "raw" / "Dataset999_Many", REAL)
    preprocessed = arguments.work / "preprocessed"
    prepare(dataset, preprocessed)
    for cases in arguments.cases:
        enlarge(dataset, preprocessed / dataset.name, cases)
        results[str(cases)] = training_start(dataset, preprocessed, arguments.work / f"results_{cases}")
        print(cases, json.dumps(results[str(cases)]), file=sys.stderr, flush=True)
    shutil.rmtree(arguments.work)
    print(json.dumps(results, indent=1))


def enlarge(dataset: Path, preprocessed: Path, cases: int) -> None:
    """Give a dataset, and what was preprocessed of it, so many cases; what is there stays."""
    plan = read_plan(preprocessed / "plan.json")
    store = store_folder(preprocessed, plan.configuration(plan.default_configuration))
    there = len(CaseStore(store).cases)
    for number in range(there, cases):
        one, other = name_of(number % REAL), name_of(number)
        os.link(dataset / "imagesTr" / f"{one}_0000.png", dataset / "imagesTr" / f"{other}_0000.png")
        os.link(dataset / "labelsTr" / f"{one}.png", dataset / "labelsTr" / f"{other}.png")
    description = json.loads((dataset / "dataset.json").read_text())
    (dataset / "dataset.json").write_text(json.dumps(description | {"numTraining": cases}))
    real = {
        case: read_entry(packed)
        for place in range(0, REAL, OF_A_PACK)
        for case, packed in read_index(pack_of(store, place)).items()
        if int(case.rpartition("_")[2]) < REAL
    }
    for first in range(there // OF_A_PACK * OF_A_PACK, cases, OF_A_PACK):
        numbers = range(first, min(cases, first + OF_A_PACK))
        entries = {
            name_of(n): renamed(real[name_of(n % REAL)], name_of(n % REAL), name_of(n)) for n in numbers
        }
        write_pack(pack_of(store, first), entries)
    write_folds(PreprocessedFolder(preprocessed).folds, folds_of(open_dataset(dataset)))


def name_of(number: int) -> str:
    """The case of that number, as `generate` calls it."""
    return f"case_{number:06d}"


def renamed(entry: PackEntry, one: str, other: str) -> PackEntry:
    """The same case under another name of the same length."""
    facts = entry.content[: entry.facts_bytes].replace(one.encode(), other.encode())
    return dataclasses.replace(
        entry, facts_crc32=zlib.crc32(facts), content=facts + entry.content[entry.facts_bytes :]
    )


if __name__ == "__main__":
    main()
