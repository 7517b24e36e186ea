"""Every command in the fix of a bad input can be typed; where it was, the same error does not come back."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.breakages import BREAKAGES
from support.kinds import tiff_of_sixteen_bits
from support.runs import roots

from balrsam_pipeline.cli import main
from balrsam_pipeline.command import COMMANDS, load_command, parser_of
from balrsam_pipeline.demo import DemoSize, generate_dataset
from balrsam_pipeline.paths import find_dataset, resolve_roots

QUICK = ("verify", "plan_and_preprocess", "describe")  # those that the test carries out
NAMED = re.compile(rf"\bbalrsam (?:{'|'.join(COMMANDS)})\b.*")


@dataclass(frozen=True)
class BadInput:
    """A dataset that is prepared in some way, and a command that cannot be carried out on it."""

    name: str
    prepare: Callable[[Path], None]
    words: tuple[str, ...]


def nothing(dataset: Path) -> None:
    """The dataset as it is."""


def planned(dataset: Path) -> None:
    words = ("plan_and_preprocess", str(dataset), *roots(dataset.parents[1]), "--workers", "1")
    assert main(words) == 0


SHORT = ("--max-steps", "1", "--device", "cpu")


def train(*words: str) -> tuple[str, ...]:
    """Training that would end at once: there is no fold 9."""
    return ("train", "999", *SHORT, "--fold", "9", *words)


PLAN = ("plan_and_preprocess", "999", "--workers", "1")
BAD_INPUTS = (
    *(BadInput(breakage.__name__, breakage, PLAN) for breakage in BREAKAGES),
    BadInput("trained before planned", nothing, train()),
    BadInput("cross-validated before planned", nothing, ("crossval", "999", *SHORT, "--folds", "9")),
    BadInput("described before planned", nothing, ("describe", "999")),
    BadInput("a configuration that the plan has not", planned, train("--configuration", "triplanar")),
    BadInput("nnU-Net's configuration", planned, train("--configuration", "3d_fullres")),
    BadInput("a fold that is not there", planned, train()),
    BadInput("chosen before trained", planned, ("find_best_configuration", "999")),
    BadInput("predicted before trained", planned, ("predict", "-i", "IMAGES", "-o", "OUT", "-d", "999")),
    BadInput("opened before there is anything", nothing, ("open", "999", "--no-browser")),
)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    size = DemoSize(training_cases=5, test_cases=1, shape_zyx=(8, 32, 28))
    return generate_dataset(tmp_path / "raw", size)


def commands_in(fix: str) -> list[list[str]]:
    """The commands that a fix names: of the words behind `balrsam`, as many as can be parsed."""
    found = []
    for match in NAMED.finditer(re.sub(r"(?=\bbalrsam )", "\n", fix)):
        words = [word.rstrip(",;:)'") for word in shlex.split(match.group().replace("'", ""))][1:]
        if words[1:2] == ["--help"]:
            continue
        parsed = [words[:count] for count in range(len(words), 0, -1) if parses(words[:count])]
        assert parsed, f"cannot be typed: {match.group()}"
        found.append(parsed[0])
    return found


def parses(words: list[str]) -> bool:
    try:
        parser_of(words[0], load_command(words[0])).parse_args(words[1:])
    except SystemExit:
        return False
    return True


def refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command: its exit code, what it found and what it says is the fix."""
    capsys.readouterr()
    code = main(words)
    told = capsys.readouterr().err
    found, _, fix = told.rpartition("  fix:  ")
    return code, " ".join(found.partition("found:")[2].split()), fix


@pytest.mark.parametrize("bad", BAD_INPUTS, ids=lambda bad: bad.name)
def test_a_fix_can_be_typed_and_fixes(
    bad: BadInput, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad.prepare(dataset)
    places = {"IMAGES": str(dataset / "imagesTs"), "OUT": str(tmp_path / "out")}
    words = (*(places.get(word, word) for word in bad.words), *roots(tmp_path))
    code, found, fix = refused(words, capsys)
    assert code == 2 and found and fix.strip()
    done = False
    for command in commands_in(fix):
        command = [
            str(tmp_path / "fixed" / dataset.name) if word == "NEW_FOLDER" else word for word in command
        ]
        arguments = parser_of(command[0], load_command(command[0])).parse_args(command[1:])
        named = getattr(arguments, "dataset", None)
        if named is not None:
            find_dataset(named, resolve_roots(arguments.raw))
        if command[0] in QUICK and not done:
            main(command)
            done = True
    if not done:
        return
    if (tmp_path / "fixed").is_dir():
        shutil.rmtree(dataset)
        shutil.move(tmp_path / "fixed" / dataset.name, dataset)
    again = refused(words, capsys)
    assert again[0] == 0 or again[1] != found


def test_a_folder_of_datasets_that_does_not_exist_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found, _ = refused(("train", "4", "--raw", str(tmp_path / "nowhere")), capsys)
    assert "does not exist" in found and "nowhere" in found


def test_the_fix_for_a_configuration_that_pictures_cannot_have_is_not_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tiff_of_sixteen_bits(tmp_path / "raw", tmp_path)
    plan = ("plan_and_preprocess", pictures.name, "--configurations", "2.5d", "--workers", "1")
    code, _, fix = refused((*plan, *roots(tmp_path)), capsys)
    assert code == 2 and "--configuration 2d" in fix and "plan_and_preprocess" not in fix
