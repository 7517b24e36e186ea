"""Where log lines go: with the time into files and pipes, above a live line on a terminal."""

from __future__ import annotations

import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from balrsam_pipeline.logs import also_logged_to, last_line

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  "
SLOW = (
    "import time\nfrom balrsam_pipeline import cli, progress\nfrom balrsam_pipeline.command import Command\n"
    "progress.SAY_EVERY_S = 0.1\n"
    "def work(arguments):\n"
    "    with progress.phase('slow step'):\n        time.sleep(0.7)\n    print('the result')\n    return 0\n"
    "cli.load_command = lambda name: Command(summary='', example='', add_arguments=lambda parser: None,"
    " run=work, long=True)\n"
    "cli.main(['train'])\n"
)


def test_lines_of_our_packages_reach_the_file_with_their_time(tmp_path: Path) -> None:
    path = tmp_path / "model" / "log.txt"
    for number in range(2):  # a run that goes on appends
        with also_logged_to(path):
            logging.getLogger("trainers.fold").info("line %d\x1b", number)
            logging.getLogger("elsewhere").warning("not ours")
    lines = path.read_text().splitlines()
    assert [re.sub(STAMP, "", line) for line in lines] == ["line 0\\x1b", "line 1\\x1b"]
    assert last_line(path) == lines[-1]
    assert last_line(tmp_path / "none.txt") is None


def test_a_slow_command_without_a_terminal_says_a_stamped_line_at_once_and_then_again_and_again() -> None:
    """The interval is a tenth of a second instead of 15, and so is everything else."""
    done = subprocess.run([sys.executable, "-c", SLOW], capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert all(re.match(STAMP, line) for line in lines), done.stderr
    assert re.fullmatch(r"balrsam train, version \S+, pid \d+", re.sub(STAMP, "", lines[0])), lines[0]
    assert sum("slow step" in line for line in lines) >= 4
    assert done.stdout == "the result\n"


def on_terminal(**environment: str) -> str:
    """What a terminal of 80 columns is sent."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", **environment},
    )
    os.close(theirs)
    sent = b""
    try:
        while piece := os.read(ours, 4096):
            sent += piece
    except OSError:  # the other end is closed: Linux's end of file
        pass
    finally:
        os.close(ours)
    assert done.wait() == 0
    return sent.decode()


def test_a_terminal_gets_one_live_line_instead() -> None:
    sent = on_terminal(NO_COLOR="1")
    assert "slow step: " in sent and "the result" in sent
    assert re.search(STAMP + "slow step", sent) is None
    assert "\x1b[2K" in sent  # the line is drawn anew
    assert re.search(r"\x1b\[[0-9;]*3[0-9]m", sent) is None  # and no colour


def test_a_terminal_that_cannot_draw_gets_lines() -> None:
    sent = on_terminal(TERM="dumb")
    assert re.search(STAMP + "slow step", sent)


def test_a_link_planted_for_the_log_is_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine\n")
    path = tmp_path / "log.txt"
    path.symlink_to(victim)
    with also_logged_to(path):
        logging.getLogger("trainers.fold").info("a line")
    assert victim.read_text() == "mine\n"
    assert "a line" in path.read_text() and not path.is_symlink()
