"""The way that `train_fold` and `plan_and_preprocess` take: which files a reader opens who follows calls.

usage: python benchmarks/house/call_path.py [train_fold | plan_and_preprocess]

A small dataset is planned, preprocessed and trained on for four steps in this process, without workers, while
`sys.setprofile` notes every call from one file of the product to another. What counts:

- every file that is entered, in the order of first entry, starting with the function's own;
- a call through the front of a package (`from package import name`, a name that its `__init__` offers) stops
  there: a reader takes the name and its docstring for granted. The front of a subpackage of the function's
  own package counts as one file, that of another package as none;
- a call that reaches behind a front (`from package.module import name`) is followed, whatever the package;
- the vocabulary is not counted: errors, files, serialise, json_text, paths, layout, plan (with network_plan,
  volume_plan and plan_checks), data_layout, whole_folder, progress, logs, terminal, printable and processor.

A return is a call to a file that was entered before, each pair of functions counted once.
Prints JSON: the files in order, their number, the returns, and without any stop all files entered.
"""

from __future__ import annotations

import ast
import json
import logging
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("balrsam_pipeline", "planners", "trainers", "evaluation")
VOCABULARY = (
    *("errors", "files", "serialise", "json_text", "paths", "layout", "data_layout", "whole_folder"),
    *("plan", "network_plan", "volume_plan", "plan_checks"),
    *("progress", "logs", "terminal", "printable", "processor"),
)


class Call(NamedTuple):
    """A call between two files of the product: file and function of either side."""

    caller: str
    calling: str
    file: str
    called: str


class Recorder:
    """Notes every call from file to file, once for each pair of functions, in the order of their first."""

    def __init__(self) -> None:
        self.calls: dict[Call, None] = {}

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call the function and note what is called meanwhile, in all threads."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            return function(*arguments)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _argument: Any) -> None:
        if event != "call":
            return
        file, caller = product_file(frame), frame.f_back
        if file is None or frame.f_code.co_name == "<module>":
            return
        while caller is not None and product_file(caller) is None:
            caller = caller.f_back
        above = caller
        while above is not None:  # what runs while a module is imported is no call
            if above.f_code.co_name == "<module>" and product_file(above) is not None:
                return
            above = above.f_back
        source = "" if caller is None else product_file(caller) or ""
        if source != file:
            calling = "" if caller is None else caller.f_code.co_name
            self.calls.setdefault(Call(source, calling, file, frame.f_code.co_name))


def product_file(frame: FrameType) -> str | None:
    """The file that a frame belongs to, relative to the repository; None outside the product."""
    name = frame.f_code.co_filename
    if not name.startswith(str(ROOT)):
        return None
    file = name[len(str(ROOT)) + 1 :]
    return file if file.endswith(".py") and file.split("/")[0] in PACKAGES else None


class Imports(NamedTuple):
    """What a file imports of the product: module files, and packages through their fronts."""

    modules: frozenset[str]
    fronts: frozenset[str]


def imports_of(file: str) -> Imports:
    """The imports of a file, wherever they stand in it."""
    modules, fronts = set(), set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            place = node.module.replace(".", "/")
            if (ROOT / place).is_dir():
                fronts.add(place)
            else:
                modules.add(f"{place}.py")
    return Imports(frozenset(modules), frozenset(fronts))


def front_between(imports: Imports, file: str) -> str | None:
    """The package through whose front a caller with these imports reaches `file`; None where it reaches
    behind."""
    parents = [str(parent) for parent in Path(file).parents]
    through = [parent for parent in parents if parent in imports.fronts]
    return through[0] if through and file not in imports.modules else None


def path_of(calls: list[Call], start: str) -> tuple[list[str], int]:
    """The files of the way from `start`, in order of first entry, and the number of returns."""
    own = start.split("/")[0]
    way, followed, returns = [start], {start}, 0
    imports = {file: imports_of(file) for file in {call.caller for call in calls if call.caller}}
    for call in calls:
        if call.caller not in followed or Path(call.file).stem in VOCABULARY:
            continue
        front = front_between(imports[call.caller], call.file)
        if front is not None and not front.startswith(f"{own}/"):
            continue  # another package's front, whose names are taken for granted
        if front is None:
            followed.add(call.file)
        place = call.file if front is None else f"{front}/"
        if place in way:
            returns += 1
        else:
            way.append(place)
    return way, returns


def prepared(folder: Path) -> tuple[Any, Any]:
    """A small raw dataset, and the request to plan it for a CPU."""
    from balrsam_pipeline.demo.generate import DemoSize, generate_dataset
    from balrsam_pipeline.execution import ExecutionOptions
    from planners.hardware import Hardware
    from planners.overrides import Overrides
    from planners.plan_and_preprocess import PlanRequest

    size = DemoSize(training_cases=5, test_cases=0, shape_zyx=(8, 32, 32))
    raw = generate_dataset(folder / "raw", size)
    request = PlanRequest(
        raw=raw,
        preprocessed=folder / "preprocessed",
        hardware=Hardware(gpu_memory_gb=None, given=True),
        overrides=Overrides(),
        configurations=None,
        like=None,
        execution=ExecutionOptions(workers=1),
        verify=True,
    )
    return raw, request


def record(name: str, folder: Path) -> tuple[list[Call], str]:
    """Run the function on a small dataset; returns its calls and its own file."""
    from planners.plan_and_preprocess import plan_and_preprocess

    raw, request = prepared(folder)
    recorder = Recorder()
    if name == "plan_and_preprocess":
        recorder.run(plan_and_preprocess, request)
        return list(recorder.calls), "planners/plan_and_preprocess.py"
    from balrsam_pipeline.paths import Roots
    from trainers.config import TrainingConfig
    from trainers.fold import train_fold
    from trainers.request import TrainRequest

    plan_and_preprocess(request)
    config = TrainingConfig(
        epochs=2, steps_per_epoch=2, batch_size=2, save_every_s=0.0, quick_validation_patches=2
    )
    roots = Roots(raw=folder / "raw", preprocessed=folder / "preprocessed", results=folder / "results")
    train = TrainRequest(dataset=raw, roots=roots, configuration="2d", device="cpu", workers=0, config=config)
    recorder.run(train_fold, train)
    return list(recorder.calls), "trainers/fold.py"


def main() -> None:
    """Print the way of the function that the command line names, or of both."""
    logging.disable(logging.INFO)
    for name in sys.argv[1:] or ("train_fold", "plan_and_preprocess"):
        folder = Path(tempfile.mkdtemp())
        try:
            calls, start = record(name, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        way, returns = path_of(calls, start)
        entered = len({call.file for call in calls} | {start})
        result = {"function": name, "files": len(way), "returns": returns, "entered": entered, "way": way}
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
