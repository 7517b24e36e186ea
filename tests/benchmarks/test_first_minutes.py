"""The script for the first minutes on a GPU: what ends it, and what it makes of tests."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"


@pytest.fixture(autouse=True)
def its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def test_a_part_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    from limited import run_python

    alive = tmp_path / "alive"
    child = f"import time; time.sleep(2.5); open({str(alive)!r}, 'w')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    ended = run_python(("-c", parent), limit_s=1.0)
    assert ended.code is None and "stopped" in ended.errors
    time.sleep(2.5)
    assert not alive.exists()


def test_what_a_part_says_and_how_it_ends_is_kept(tmp_path: Path) -> None:
    from first_minutes import Part, run

    good = run(Part(name="good", words=("-c", "print('words'); print('{\"a\": 1}')"), limit_s=20), 20)
    bad = run(Part(name="bad", words=("-c", "print('no JSON'); raise SystemExit('why')"), limit_s=20), 20)
    assert good["figures"] == {"a": 1} and good["exit_code"] == 0
    assert bad["said"] == ["no JSON"] and bad["errors"] == ["why"] and bad["exit_code"] == 1


def test_failed_tests_are_named(tmp_path: Path) -> None:
    from first_minutes import verdict_of

    report = tmp_path / "tests.xml"
    report.write_text(
        '<testsuites><testsuite tests="2" failures="1" errors="0" skipped="0"><testcase name="one"/>'
        '<testcase name="two"><failure message="assert 1 == 2&#10;more">...</failure></testcase>'
        "</testsuite></testsuites>"
    )
    verdict = verdict_of(report)
    assert verdict["tests"] == 2 and verdict["failed"] == {"two": "assert 1 == 2"}


def test_every_part_has_words_that_its_script_takes(tmp_path: Path) -> None:
    from first_minutes import TOTAL_S, parts_of

    names = [part.name for part in parts_of("cuda", tmp_path)]
    assert names[0] == "check_machine" and len(set(names)) == len(names)
    assert {part.words[0] for part in parts_of("cpu", tmp_path)} <= {
        "-m",
        str(FOLDER / "measure.py"),
        str(FOLDER / "ranks.py"),
    }
    assert TOTAL_S < 480
    assert sys.executable
