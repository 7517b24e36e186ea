"""The one command `balrsam`: finds the sub-command, parses, runs it, and turns errors into messages and exit
codes."""

from __future__ import annotations

import difflib
import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from balrsam_pipeline import __version__
from balrsam_pipeline.advice import completed
from balrsam_pipeline.command import COMMANDS, load_command, parser_of
from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.logs import log_to_stderr
from balrsam_pipeline.memory import is_want_of_memory, want_of_memory
from balrsam_pipeline.paths import is_first_rank, wait_passively
from balrsam_pipeline.printable import one_line, printable
from balrsam_pipeline.progress import phase
from balrsam_pipeline.streams import prepare_streams

LOG = logging.getLogger(__name__)
INTERRUPTED = 130  # as shells report SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run `balrsam` with `argv` (default: the process's arguments); returns the exit code: 0 done, 1 partly,
    2 not."""
    if argv is None:
        prepare_streams()
        wait_passively()
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        print(f"balrsam-pipeline {__version__}")
        return 0
    if words[0] not in COMMANDS:
        near = difflib.get_close_matches(words[0], COMMANDS, 1)
        meant = f" Did you mean '{near[0]}'?" if near else ""
        known = f"Commands: {', '.join(COMMANDS)}"
        print(f"balrsam: no command '{one_line(words[0])}'.{meant} {known}", file=sys.stderr)
        return 2
    return run_command(words[0], words[1:])


def run_command(name: str, words: Sequence[str], note: Callable[[str], None] | None = None) -> int:
    """Parse `words` for the sub-command `name` and run it; a BalrsamError becomes a message (told to `note`
    too) and its exit code."""
    command = load_command(name)
    arguments = parser_of(name, command).parse_args(words)
    log_to_stderr()
    speaks = command.long and is_first_rank()
    if speaks and note is None:
        LOG.info("balrsam %s, version %s, pid %d", name, __version__, os.getpid())
    try:
        with phase(f"balrsam {name}") if speaks else nullcontext():
            code = command.run(arguments)
        sys.stdout.flush()  # here, where a full disk behind `> FILE` can be told
        return code
    except BalrsamError as problem:
        problem.fix = completed(problem.fix, arguments)
        message, code = f"{type(problem).__name__}: {problem}", problem.exit_code
    except (MemoryError, RuntimeError, ImportError, OSError) as problem:
        if is_want_of_memory(problem):
            known: BalrsamError = want_of_memory(f"balrsam {name}", problem)
        elif isinstance(problem, OSError):
            known = _about_files(problem, command.again)
        else:
            raise
        message, code = str(known), known.exit_code
    except KeyboardInterrupt:
        message, code = f"interrupted; {command.again}", INTERRUPTED
    print(f"balrsam {name}: {printable(message)}", file=sys.stderr)
    if note is not None:
        note(message)
    return code


def _about_files(problem: OSError, again: str) -> BalrsamError:
    """A failing file system, told as every other error: the disk is full, a folder may not be written to,
    …"""
    full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
    return BalrsamError(
        problem.filename or "the file system",
        found=problem.strerror or str(problem),
        expected="room to write" if full else "files that can be read and written",
        fix=f"free some space, then {again}" if full else "check the path and its permissions",
    )


def plan_and_preprocess() -> int:
    """The console script `plan_and_preprocess DatasetXXX`."""
    prepare_streams()
    wait_passively()
    return run_command("plan_and_preprocess", sys.argv[1:])


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items())
    return (
        "balrsam: segment medical images with an adapted Segment Anything Model\n\n"
        f"usage: balrsam COMMAND [options]      balrsam COMMAND --help\n\ncommands:\n{rows}\n\n"
        "example:\n  balrsam run Dataset004_Hippocampus --raw FOLDER_OF_DATASETS --folds 0 --max-minutes 20"
    )


if __name__ == "__main__":
    sys.exit(main())
