"""Commands that the documentation shows exist, with all their options."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from balrsam_pipeline.cli import COMMANDS, load_command

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"^[ $]*(?:\S*bin/)?balrsam ([a-z_]+)(.*)$|`balrsam ([a-z_]+)([^`]*)`", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_of_a_page_has_the_options_shown(page: Path) -> None:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    wrong = []
    for line, line_rest, inline, inline_rest in COMMAND.findall(text):
        name, rest = line or inline, (line_rest or inline_rest).split("#")[0].split(" && ")[0]
        if name not in COMMANDS:
            wrong.append(f"no command {name}")
            continue
        parser = argparse.ArgumentParser()
        load_command(name).add_arguments(parser)
        known = {option for action in parser._actions for option in action.option_strings}
        wrong += [f"{name} {option}" for option in OPTION.findall(rest) if option not in known]
    assert wrong == []
