"""The command line is a promise: every option of every command, as it was last agreed on.

After a change that is meant, write the list anew: python tests/balrsam_pipeline/test_command_line.py
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from balrsam_pipeline.cli import COMMANDS, load_command, parser_of

AGREED = Path(__file__).with_name("command_line.txt")
OTHERS = {"--list"}  # of `balrsam download_checkpoint`, which help names beside it
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def described(action: argparse.Action) -> str:
    """One option in one line: its names, and what it takes."""
    facts = {
        "takes": "flag" if action.nargs == 0 else f"{action.nargs or 1}",
        "type": getattr(action.type, "__name__", "str"),
        "choices": ",".join(map(str, action.choices)) if action.choices else None,
        "default": None if action.default in (None, False, argparse.SUPPRESS) else str(action.default),
        "required": "yes" if action.required else None,
    }
    words = [f"{name}={value}" for name, value in facts.items() if value is not None]
    return " ".join(["|".join(action.option_strings) or action.dest.upper(), *words])


def command_line(name: str) -> list[str]:
    parser = parser_of(name, load_command(name))
    return sorted(f"{name} {described(action)}" for action in parser._actions if action.dest != "help")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_line_is_as_agreed(name: str) -> None:
    agreed = AGREED.read_text(encoding="utf-8").splitlines()
    assert command_line(name) == [line for line in agreed if line.startswith(f"{name} ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_speaks_of_options_that_the_command_has(name: str) -> None:
    actions = parser_of(name, load_command(name))._actions
    known = {word for action in actions for word in action.option_strings}
    told = {word for action in actions for word in OPTION.findall(action.help or "")}
    assert told - known <= OTHERS


if __name__ == "__main__":
    lines = [line for name in COMMANDS for line in command_line(name)]
    AGREED.write_text("\n".join(lines) + "\n", encoding="utf-8")
