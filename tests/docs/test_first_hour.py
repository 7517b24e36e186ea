"""The first half hour of a newcomer, as docs/first_hour.md tells it: every command of the page is run in one
shell, in order, with seconds of training instead of minutes; outputs are as the page shows them. Every
command is a process of its own, forked from one that has imported everything.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.warm_shell import run_script

from balrsam_pipeline.files import read_json

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "first_hour.md").read_text(encoding="utf-8")
QUICK = {"--max-minutes 2": "--max-steps 6 --folds 0 --threads 1"}


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which all of it was done, and all that was said."""
    folder = tmp_path_factory.mktemp("walk")
    script = "".join(blocks("sh"))
    for slow, quick in QUICK.items():
        assert slow in script
        script = script.replace(slow, quick)
    places = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    environment = {**os.environ, "PYTHONPATH": places, "BROWSER": "true"}
    for name in ("raw", "preprocessed", "results"):
        environment.pop(f"balrsam_{name}", None)
    done = run_script(script, folder, environment | {"OMP_NUM_THREADS": "1"}, timeout_s=600)
    assert done.returncode == 0, done.stdout[-4000:]
    return folder / "first_hour", done.stdout


def test_every_command_of_the_page_ends_well(walked: tuple[Path, str]) -> None:
    folder, _ = walked
    for name in ("submission.zip", "organs.zip", "mask.png", "worst", "colleague/mask.png"):
        assert (folder / name).exists(), name


def test_what_the_page_shows_is_what_the_commands_say_in_this_order(walked: tuple[Path, str]) -> None:
    _, said = walked
    place = 0
    for line in "".join(blocks("text")).splitlines():
        assert line in said, line
        found = said.find(line, place)
        assert found >= 0, f"too early: {line}"
        place = found


def test_patients_stay_on_one_side(walked: tuple[Path, str]) -> None:
    folder, _ = walked
    raw = folder / "balrsam_data" / "raw" / "Dataset001_Organs"
    names = [
        {path.name.split("_")[0] for path in (raw / part).iterdir()} for part in ("labelsTr", "labelsTs")
    ]
    assert len(names[1]) == 3 and not names[0] & names[1]
    splits = read_json(folder / "balrsam_data" / "preprocessed" / "Dataset001_Organs" / "splits.json")
    for fold in splits:
        train, val = ({case.split("_")[0] for case in fold[part]} for part in ("train", "val"))
        assert not train & val
