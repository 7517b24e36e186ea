"""The scripts in .ci do what they say, with programs that only write down how they were called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAYS = '#!/bin/bash\necho "$(basename "$0") $*" >> "$CALLS"\n'


def called(
    folder: Path, script: str, programs: dict[str, str], **environment: str
) -> tuple[int, str, list[str]]:
    """Exit code, output and calls of a copy of a script that finds these programs: name -> lines of bash."""
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / script, folder / ".ci")
    (folder / "bin").mkdir()
    for name, lines in programs.items():
        (folder / "bin" / name).write_text(SAYS + lines)
        (folder / "bin" / name).chmod(0o755)
    for name in ("bash", "dirname", "basename", "mktemp", "rm"):
        (folder / "bin" / name).symlink_to(str(shutil.which(name)))
    calls = folder / "calls"
    calls.touch()
    words = {"PATH": str(folder / "bin"), "CALLS": str(calls), **environment}
    done = subprocess.run(
        [str(shutil.which("bash")), str(folder / ".ci" / script), *(["python"] if script == "audit" else [])],
        env=words,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr, calls.read_text().splitlines()


@pytest.mark.parametrize(("environment", "installs"), [({"CI": "0"}, False), ({}, True)])
def test_a_browser_is_installed_unless_that_is_refused(
    tmp_path: Path, environment: dict[str, str], installs: bool
) -> None:
    programs = {"id": "echo 0\n", "apt-get": "", "make": ""}
    code, said, calls = called(tmp_path, "run", programs, **environment)
    assert code == 0
    assert any(call.startswith("apt-get install") for call in calls) == installs
    assert "browser tests will skip" in said, "for what apt-get is said to install here is not there"
    assert [call for call in calls if call.startswith("make")] == [
        "make test",
        "make lint",
        "make docs",
        "make audit",
    ]


def test_an_audit_that_could_not_be_made_is_told_loudly(tmp_path: Path) -> None:
    code, said, _ = called(tmp_path, "audit", {"python": "exit 1\n"})
    assert code == 0, "a machine without the internet runs the checks too"
    assert "NOT AUDITED" in said and "cannot be reached" in said


def test_make_clean_removes_what_the_demo_made() -> None:
    done = subprocess.run(["make", "-n", "clean"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "demo_data" in done.stdout.split()
