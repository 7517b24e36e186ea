"""Runs the parts of the first minutes on a GPU one after the other, each in a process of its own with a time
limit, and writes one JSON: what each said, how long it took, and which did not end well.

    python benchmarks/gpu/first_minutes.py --output first_minutes.json [--device cpu]

Use first_minutes.sh, which asks first whether there is a GPU. The exit code is 1 if a part did not end well.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TOTAL_S = 470.0  # under 8 minutes with all that starts and ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A process: its words after `python`, its time limit, and the JSON file that it writes (None: its last
    line of output is JSON, or only its exit code counts)."""

    name: str
    words: tuple[str, ...]
    limit_s: float
    result: Path | None = None


def parts_of(device: str, folder: Path) -> list[Part]:
    """What is run, in order of worth."""
    machine, tests = folder / "machine.json", folder / "tests.xml"
    measure = str(HERE / "measure.py")
    sizes = (
        [("vit_mini", 64, 2)]
        if device == "cpu"
        else [("vit_b", 448, 8), ("vit_b", 896, 2), ("vit_h", 896, 1), ("vit_t", 256, 16)]
    )
    check = ("-m", "balrsam_pipeline", "check_machine", "--device", device, "--json", str(machine))
    return [
        Part(name="check_machine", words=check, limit_s=90, result=machine),
        Part(
            name="gpu_tests",
            words=(
                "-m",
                "pytest",
                "-q",
                "-m",
                "gpu",
                "tests/gpu",
                f"--junitxml={tests}",
                "-p",
                "no:cacheprovider",
            ),
            limit_s=120,
        ),
        *(
            Part(
                name=f"training_{backbone}_{side}",
                words=(
                    measure,
                    "training",
                    "--device",
                    device,
                    "--backbone",
                    backbone,
                    "--side",
                    str(side),
                    "--batch",
                    str(batch),
                ),
                limit_s=60,
            )
            for backbone, side, batch in sizes
        ),
        Part(name="float16", words=(measure, "float16", "--device", device), limit_s=30),
        Part(name="prediction", words=(measure, "prediction", "--device", device), limit_s=45),
        Part(name="two_ranks", words=(measure, "two_ranks", "--device", device), limit_s=60),
    ]


def run(part: Part, limit_s: float) -> dict[str, Any]:
    """One part: exit code, seconds, and its figures."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            (sys.executable, *part.words), capture_output=True, text=True, timeout=limit_s, check=False
        )
        code, output, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, output, errors = (
            None,
            _text(late.stdout),
            _text(late.stderr) + f"\nstopped after {limit_s:.0f} s",
        )
    entry: dict[str, Any] = {"exit_code": code, "seconds": round(time.monotonic() - began, 1)}
    try:
        lines = output.strip().splitlines()
        text = part.result.read_text() if part.result is not None else lines[-1]
        entry["figures"] = json.loads(text)
    except (OSError, IndexError, ValueError):
        entry["said"] = output.strip().splitlines()[-5:]
    if code != 0:
        entry["errors"] = errors.strip().splitlines()[-15:]
    return entry


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def main() -> None:
    """Run all parts while there is time, and write what they found after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    arguments = parser.parse_args()
    began, found = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="first-minutes-") as name:
        for part in parts_of(arguments.device, Path(name)):
            left = TOTAL_S - (time.monotonic() - began)
            if left < 5:
                found[part.name] = {"exit_code": None, "seconds": 0, "errors": ["no time was left"]}
                continue
            print(f"{part.name} …", flush=True)
            found[part.name] = run(part, min(left, part.limit_s))
            print(f"  {json.dumps(found[part.name])[:200]}", flush=True)
            arguments.output.write_text(
                json.dumps({"device": arguments.device, "parts": found}, indent=2) + "\n"
            )
    # pytest ends with 5 where every test was left out, as on a CPU
    bad = [name for name, entry in found.items() if entry["exit_code"] not in (0, 5)]
    print(
        f"{arguments.output}: " + (f"did not end well: {', '.join(bad)}" if bad else "all parts ended well")
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
