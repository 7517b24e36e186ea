"""Whatever is in a file from outside: it is read, or refused with an error; nothing crashes, hangs, or is
written elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.fuzz_seeds import SEEDS
from support.fuzzing import problem_with

TESTS = Path(__file__).resolve().parents[1]
NAMES = (*SEEDS, "sam.pt")
INPUTS = 300  # of each kind; together more than 10 000


def fuzz(folder: Path, first: int, last: int, *names: str) -> list[str]:
    """The output of the fuzzing process, when nothing went wrong."""
    command = [sys.executable, "-m", "support.fuzzing", str(folder), str(first), str(last), *names]
    environment = os.environ | {"PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("problem")] == []
    assert done.returncode == 0, (lines[-1:], done.stderr[-3000:])
    assert not Path("/tmp/escaped.json").exists()
    return lines


def test_a_few_damaged_files_of_every_kind_are_read_or_refused(tmp_path: Path) -> None:
    lines = fuzz(tmp_path, 0, 10)
    assert sum(line.startswith("at ") for line in lines) == 10 * len(NAMES)


def test_the_page_on_running_says_how_many_they_are() -> None:
    page = " ".join((TESTS.parent / "docs" / "running.md").read_text(encoding="utf-8").split())
    kinds = len(NAMES)
    assert f"{INPUTS} damaged files of each of {kinds} kinds in the slow suite ({kinds * INPUTS:,})" in page


def found_before() -> list[Path]:
    return sorted(path for path in (TESTS / "fuzz" / "findings").rglob("*") if path.is_file())


@pytest.mark.parametrize("finding", found_before(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_fuzzing_found_is_read_or_refused(finding: Path) -> None:
    """Each is the smallest input that broke its reader once, or that would where a limit is taken away."""
    assert problem_with(finding.parent.name, finding.read_bytes()) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_hundreds_of_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    assert len(NAMES) * INPUTS >= 10_000
    assert sum(line.startswith("at ") for line in fuzz(tmp_path, 0, INPUTS, name)) == INPUTS
