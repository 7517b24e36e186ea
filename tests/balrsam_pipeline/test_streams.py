"""The standard streams are not taken for granted: closed, full, of another encoding, or read by nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = (
    "import sys\nfrom balrsam_pipeline.streams import prepare_streams\nprepare_streams()\n"
    "print('5 × 5 \\udcff \\x1b[2J')\nprint('warned', file=sys.stderr)\n"
    "opened = open(sys.argv[1], 'w')\nopened.write('content')\nopened.close()\n"
)


def run(redirection: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-c", PROGRAM, str(folder / "file")],
        capture_output=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_neither_a_crash_nor_the_next_file_that_is_opened(
    tmp_path: Path, closed: str
) -> None:
    assert run(closed, tmp_path).returncode == 0
    assert (tmp_path / "file").read_text() == "content"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_signs_that_an_encoding_lacks_are_escaped(tmp_path: Path, encoding: str) -> None:
    done = run("", tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0
    assert b"5 " in done.stdout
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize("command", [["--help"], ["train", "--help"], ["verify", "nowhere"]])
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_gone_ends_a_command_quietly(command: list[str], stream: str) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    program = [sys.executable, "-m", "balrsam_pipeline", *command]
    if stream == "stdout":
        done = subprocess.run(program, stdout=write_end, stderr=subprocess.PIPE)
        assert b"pipe" not in done.stderr.lower()
        assert b"Traceback" not in done.stderr
    else:
        done = subprocess.run(program, stdout=subprocess.PIPE, stderr=write_end)
    assert done.returncode == (2 if command[0] == "verify" else 0)


PRINTS = (
    "import sys\nfrom balrsam_pipeline import cli\nfrom balrsam_pipeline.command import Command\n"
    "cli.load_command = lambda name: Command(summary='', example='', add_arguments=lambda parser: None,"
    " run=lambda arguments: print('result') or 0)\nsys.argv = ['balrsam', 'run']\nsys.exit(cli.main())\n"
)


def test_a_full_disk_behind_the_output_is_told() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", PRINTS], stdout=full, stderr=subprocess.PIPE)
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode == 2
