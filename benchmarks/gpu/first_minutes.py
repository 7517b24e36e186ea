"""Runs the parts of the first minutes on a GPU one after the other, each in a process of its own with a time
limit, and writes one JSON: what each said, how long it took, and which did not end well.

    python benchmarks/gpu/first_minutes.py --output first_minutes.json [--device cpu]

Use first_minutes.sh, which asks first whether there is a GPU. The exit code is 1 if a part did not end well.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limited import Ended, run_python

HERE = Path(__file__).parent
TOTAL_S = 470.0  # under 8 minutes with all that starts and ends
SLOWER = {"cuda": 1.0, "cpu": 3.0}  # a part may take so many times its limit
LEFT_OUT = 5  # pytest's exit code where no test was run, as on a CPU
SIZES = {  # backbone, side, batch
    "cpu": (("vit_mini", 64, 2), ("vit_t", 256, 1)),
    "cuda": (("vit_b", 448, 8), ("vit_b", 896, 2), ("vit_h", 896, 1), ("vit_t", 256, 16)),
}


def last_line(ended: Ended) -> Any:
    """The JSON in the last line of what a process wrote."""
    return json.loads(ended.output.strip().splitlines()[-1])


def written(path: Path) -> Any:
    """The JSON in a file that a process wrote."""
    return json.loads(path.read_text())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A process: its words after `python`, its time limit, and where its figures are found."""

    name: str
    words: tuple[str, ...]
    limit_s: float
    figures: Callable[[Ended], Any] = last_line


def parts_of(device: str, folder: Path) -> list[Part]:
    """What is run, in order of worth."""
    machine, tests = folder / "machine.json", folder / "tests.xml"
    measure, ranks = str(HERE / "measure.py"), str(HERE / "ranks.py")
    check = ("-m", "balrsam_pipeline", "check_machine", "--device", device, "--json", str(machine))
    pytest = ("-m", "pytest", "-q", "-m", "gpu", "tests/gpu", f"--junitxml={tests}", "-p", "no:cacheprovider")
    trainings = []
    for backbone, side, batch in SIZES[device]:
        network = ("--backbone", backbone, "--side", str(side), "--batch", str(batch))
        words = (measure, "training", "--device", device, *network)
        trainings.append(Part(name=f"training_{backbone}_{side}", words=words, limit_s=75))
    return [
        Part(name="check_machine", words=check, limit_s=90, figures=lambda _: written(machine)),
        trainings[0],
        Part(name="gpu_tests", words=pytest, limit_s=120, figures=lambda _: verdict_of(tests)),
        Part(name="float16", words=(measure, "float16", "--device", device), limit_s=60),
        Part(name="prediction", words=(measure, "prediction", "--device", device), limit_s=60),
        *trainings[1:],
        Part(name="two_ranks", words=(ranks, "--device", device), limit_s=80),
    ]


def verdict_of(tests: Path) -> dict[str, Any]:
    """Of pytest's report: how many tests there were, and the first line of what each failed one said."""
    suite = ElementTree.parse(tests).getroot().find("testsuite")
    if suite is None:
        raise ValueError(f"no test suite in {tests}")
    counts = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    failed = {
        str(case.get("name")): str(problem.get("message")).splitlines()[0]
        for case in suite.iter("testcase")
        for problem in (*case.findall("failure"), *case.findall("error"))
    }
    return counts | {"failed": failed}


def run(part: Part, limit_s: float) -> dict[str, Any]:
    """One part: exit code, seconds, and its figures."""
    began = time.monotonic()
    ended = run_python(part.words, limit_s)
    entry: dict[str, Any] = {"exit_code": ended.code, "seconds": round(time.monotonic() - began, 1)}
    try:
        entry["figures"] = part.figures(ended)
    except (OSError, IndexError, ValueError, ElementTree.ParseError):
        entry["said"] = ended.output.strip().splitlines()[-5:]
    if ended.code not in (0, LEFT_OUT):
        entry["errors"] = ended.errors.strip().splitlines()[-15:]
    return entry


def main() -> None:
    """Run all parts while there is time, and write what they found after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    began = time.monotonic()
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as name:
        for part in parts_of(arguments.device, Path(name)):
            left = TOTAL_S - (time.monotonic() - began)
            print(f"{part.name} …", flush=True)
            if left < 5:
                found[part.name] = {"exit_code": None, "seconds": 0, "errors": ["no time was left"]}
            else:
                found[part.name] = run(part, min(left, SLOWER[arguments.device] * part.limit_s))
            print(f"  {json.dumps(found[part.name])[:200]}", flush=True)
            seconds = round(time.monotonic() - began, 1)
            result = {"device": arguments.device, "seconds": seconds, "parts": found}
            arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    bad = [name for name, entry in found.items() if entry["exit_code"] not in (0, LEFT_OUT)]
    print(
        f"{arguments.output}: " + (f"did not end well: {', '.join(bad)}" if bad else "all parts ended well")
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
