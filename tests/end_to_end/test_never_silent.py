"""A log without a terminal: its first line comes at once, and no stretch of a run passes without a word.

Progress is told each 10 s; here each 0.1 s, and each phase of a run takes a nap of ten such intervals, so a
nap without three lines would be half a minute of silence.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import slow_run
from support.runs import roots

from balrsam_pipeline.demo import DemoSize, generate_dataset
from balrsam_pipeline.layout import ResultsFolder

FIRST_LINE = """
import logging, sys, time
class First(logging.Handler):
    def emit(self, record):
        print(f"first line after {time.process_time()} s", file=sys.stderr)
        logging.getLogger("balrsam_pipeline").removeHandler(self)
logging.getLogger("balrsam_pipeline").addHandler(First())
from balrsam_pipeline.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder and the log of a slowed run."""
    folder = tmp_path_factory.mktemp("slow")
    generate_dataset(folder / "raw", DemoSize(training_cases=3, test_cases=1, shape_zyx=(6, 32, 32)))
    words = (
        "--configurations",
        "2d",
        "--folds",
        "0",
        "--max-steps",
        "2",
        "--device",
        "cpu",
        "--workers",
        "1",
    )
    command = [sys.executable, slow_run.__file__, "run", "999", *roots(folder), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stderr.splitlines()


@pytest.mark.parametrize("phase", list(slow_run.SLOWED))
def test_a_slow_phase_is_spoken_of(log: tuple[Path, list[str]], phase: str) -> None:
    _, lines = log
    begins, ends = (lines.index(f"nap of {phase} {word}") for word in ("begins", "ends"))
    assert ends - begins > 3, lines[begins : ends + 1]
    for line in lines[begins + 1 : ends]:
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \S", line), line
        assert re.search(r"so far|left|going on|finishing", line), "a line says how long it took or will take"


def test_the_log_of_the_run_holds_the_same_lines(log: tuple[Path, list[str]]) -> None:
    folder, lines = log
    written = ResultsFolder(folder / "results" / "Dataset999_Demo").run_log.read_text(encoding="utf-8")
    begins, ends = (lines.index(f"nap of prediction {word}") for word in ("begins", "ends"))
    assert all(line in written for line in lines[begins + 1 : ends])


@pytest.mark.parametrize("command", ["run", "predict"])
def test_the_first_line_comes_before_anything_slow(command: str, tmp_path: Path) -> None:
    """In seconds of the processor, which neighbours do not change; half a second of them, not two."""
    words = {"predict": ["-i", "nowhere", "-o", "out", "--model", "none"]}.get(command, ["404"])
    done = subprocess.run(
        [sys.executable, "-c", FIRST_LINE, command, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    first = done.stderr.splitlines()
    told = next(line for line in first[:2] if line.startswith("first line after"))
    assert float(told.split()[3]) < 1.0, done.stderr
    assert any(f"balrsam {command}, version" in line for line in first[:2])
