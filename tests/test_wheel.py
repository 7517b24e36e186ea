"""An installed package has all that the checkout has."""

from __future__ import annotations

import configparser
import fnmatch
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parents[1]


def test_every_file_of_the_packages_goes_into_the_wheel() -> None:
    """Modules lie in packages that are found, other files fit a pattern of `package_data`."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    include = config["options.packages.find"]["include"].split()
    packages = set(find_packages(str(ROOT), include=include))
    patterns = {name: text.replace(",", " ").split() for name, text in config["options.package_data"].items()}
    left_out = []
    for top in {name.partition(".")[0] for name in packages}:
        for path in (ROOT / top).rglob("*"):
            if not path.is_file() or "__pycache__" in path.parts:
                continue
            owner = next(
                folder for folder in path.parents if ".".join(folder.relative_to(ROOT).parts) in packages
            )
            name, package = path.relative_to(owner).as_posix(), ".".join(owner.relative_to(ROOT).parts)
            kinds = [*patterns["*"], *patterns.get(package, [])]
            inside = name.endswith(".py") and path.parent == owner
            fits = any(fnmatch.fnmatch(name, kind) and name.count("/") == kind.count("/") for kind in kinds)
            if not inside and not fits:
                left_out.append(str(path))
    assert left_out == []
    assert len(packages) > 20
