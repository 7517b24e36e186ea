"""What the end-to-end tests share: folders, small copies of real datasets, and what must not be left
behind."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

Balrsam = Callable[..., "subprocess.CompletedProcess[str]"]


def roots(folder: Path) -> tuple[str, ...]:
    """The options that put everything below `folder`."""
    return tuple(f"--{name}={folder / name}" for name in ("raw", "preprocessed", "results"))


def stray_files(folder: Path) -> list[Path]:
    """Temporary files and locks that should not have been left behind."""
    return [path for path in folder.rglob("*") if ".tmp" in path.name or path.name.endswith(".lock")]


def copy_some(source: Path, target: Path, cases: int, tests: int = 0) -> Path:
    """A dataset of the first cases of another, with its dataset.json corrected."""
    description = json.loads((source / "dataset.json").read_text())
    ending = description["file_ending"]
    labels = sorted((source / "labelsTr").glob(f"*{ending}"))[:cases]
    for label in labels:
        case = label.name.removesuffix(ending)
        for image in (source / "imagesTr").glob(f"{case}_*{ending}"):
            _copy(image, target / "imagesTr" / image.name)
        _copy(label, target / "labelsTr" / label.name)
    for image in sorted((source / "imagesTs").glob(f"*{ending}"))[:tests] if tests else []:
        _copy(image, target / "imagesTs" / image.name)
    (target / "dataset.json").write_text(json.dumps(description | {"numTraining": cases}))
    return target


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
