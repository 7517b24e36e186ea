"""Options that are declared on dataclass fields: parsed, read back, and written as a command line again."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from balrsam_pipeline.cli import COMMANDS
from balrsam_pipeline.options import add_options, given, option, words_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Baking:
    """An example with every kind of field."""

    oven: str
    minutes: float | None = option("how long", default=None, metavar="M")
    loaves: int = option("how many", default=1)
    rest: bool = option("let it rest", default=False)
    salt: bool = option("leave out the salt", default=True)
    flour: Literal["wheat", "rye"] = option("which flour", default="wheat")
    recipe: Path | None = option("a book", default=None, names=("--book", "--recipe"))
    seeds: tuple[str, ...] = option("on top", default=(), choices=("poppy", "sesame"))


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser, Baking)
    return parser.parse_args(words)


def test_what_is_not_given_is_not_set() -> None:
    assert given(parse(), Baking) == {}


def test_values_have_the_types_of_their_fields() -> None:
    line = "--minutes 40 --loaves 2 --rest --no-salt --flour rye --recipe b.txt --seeds poppy sesame"
    assert given(parse(*line.split()), Baking) == {
        "minutes": 40.0,
        "loaves": 2,
        "rest": True,
        "salt": False,
        "flour": "rye",
        "recipe": Path("b.txt"),
        "seeds": ("poppy", "sesame"),
    }


@pytest.mark.parametrize("words", [["--flour", "oat"], ["--seeds", "flax"], ["--loaves", "two"], ["--salt"]])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(SystemExit):
        parse(*words)


def test_the_command_line_of_a_value_gives_that_value() -> None:
    baking = Baking(
        oven="stone", minutes=12.5, loaves=3, rest=True, salt=False, recipe=Path("b"), seeds=("poppy",)
    )
    assert Baking(oven="stone", **given(parse(*words_of(baking)), Baking)) == baking
    assert words_of(Baking(oven="stone")) == ()


def test_a_field_without_an_option_cannot_be_given() -> None:
    with pytest.raises(SystemExit):
        parse("--oven", "stone")


def test_help_of_every_command_loads_no_torch() -> None:
    code = (
        "import sys; from balrsam_pipeline.cli import COMMANDS, load_command, parser_of\n"
        "for name in COMMANDS: parser_of(name, load_command(name)).format_help()\n"
        "print(*sorted({'torch', 'numpy', 'scipy', 'SimpleITK', 'pandas'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.split() == [], f"loaded for the help of {len(COMMANDS)} commands"
