"""What an installation takes is written down: ranges in setup.cfg, one version of each in constraints.txt."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OWN = "balrsam-pipeline"


def listed() -> dict[str, list[Requirement]]:
    """Extra, "" of those always needed -> its requirements."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {"": config["options"]["install_requires"], **config["options.extras_require"]}
    return {name: [*map(Requirement, text.split("\n")[1:])] for name, text in extras.items()}


def pinned() -> list[Requirement]:
    """The lines of constraints.txt, in order."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


@pytest.mark.parametrize("extra", listed())
def test_every_requirement_has_one_version_within_its_range(extra: str) -> None:
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pinned()}
    for wanted in listed()[extra]:
        if canonicalize_name(wanted.name) == OWN:
            assert wanted.extras <= set(listed())
        else:
            assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), wanted


def test_make_installs_versions_of_the_same_list() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.findall(r"[\w-]+==\d\S*", makefile) == []
    assert {"build", "twine"} <= {pin.name for pin in pinned()}


def test_versions_are_in_order_and_each_is_there_once() -> None:
    names = [canonicalize_name(pin.name) for pin in pinned()]
    assert names == sorted(set(names))


def test_the_readme_lists_every_extra() -> None:
    table = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("| extra | for |")[2].partition("\n\n")[0]
    )
    named = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named == set(listed()) - {""}
