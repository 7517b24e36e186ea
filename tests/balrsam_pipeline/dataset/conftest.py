"""Good datasets are made once a run and copied for each test; the catalogue is importable by its name."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

Base = Callable[[Path], Path]


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Base, Path], Path]:
    """A function that puts a good dataset into a folder."""
    made: dict[Base, Path] = {}

    def copy(base: Base, folder: Path) -> Path:
        if base not in made:
            made[base] = base(tmp_path_factory.mktemp("good") / "dataset")
        return Path(shutil.copytree(made[base], folder))

    return copy
