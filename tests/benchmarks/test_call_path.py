"""What `benchmarks/house/call_path.py` counts, by hand on a small graph of calls; how long the ways are."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.house.call_path import Call, Imports, front_between, path_of

ROOT = Path(__file__).resolve().parents[2]


def test_a_name_taken_from_a_front_stops_there_and_one_from_behind_does_not() -> None:
    through = Imports(modules=frozenset(), fronts=frozenset({"trainers/data"}))
    assert front_between(through, "trainers/data/loader.py") == "trainers/data"
    behind = Imports(modules=frozenset({"trainers/data/loader.py"}), fronts=frozenset({"trainers/data"}))
    assert front_between(behind, "trainers/data/loader.py") is None
    assert front_between(through, "trainers/losses.py") is None


def test_files_are_counted_once_and_the_vocabulary_not_at_all() -> None:
    calls = [
        Call("trainers/fold.py", "train_fold", "trainers/data/fold_data.py", "open_fold"),  # a front
        Call("trainers/data/fold_data.py", "open_fold", "trainers/data/patches.py", "read"),  # behind it
        Call("trainers/fold.py", "train_fold", "trainers/setup.py", "assemble"),
        Call("trainers/setup.py", "assemble", "balrsam_pipeline/network/builder.py", "build"),
        Call("trainers/setup.py", "assemble", "trainers/losses.py", "__init__"),
        Call("trainers/setup.py", "assemble", "balrsam_pipeline/files.py", "read_json"),
        Call("trainers/fold.py", "train_fold", "trainers/losses.py", "one_hot"),  # a return
    ]
    way, returns = path_of(calls, "trainers/fold.py")
    assert way == ["trainers/fold.py", "trainers/data/", "trainers/setup.py", "trainers/losses.py"]
    assert returns == 1


@pytest.mark.slow
@pytest.mark.parametrize(("function", "most"), [("train_fold", 25), ("plan_and_preprocess", 29)])
def test_the_way_of_a_call_is_short(function: str, most: int) -> None:
    command = [sys.executable, "benchmarks/house/call_path.py", function]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["files"] <= most
