"""Making a dataset folder that is either whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.execution.whole_folder import whole_folder
from balrsam_pipeline.imageio.tiff import sidecar


@contextmanager
def new_folder(target: Path, source: Path, made_of: str) -> Iterator[Path]:
    """Yield a temporary folder beside `target`, renamed to it on success and removed on any exception.

    Args:
        source: the folder that is read; `target` must not lie inside it, so that it stays untouched.
        made_of: see `whole_folder`.

    Raises:
        DatasetError: `target` exists, or lies inside `source`.
    """
    if target.exists():
        raise DatasetError(
            target,
            found="it exists, and was made otherwise",
            expected="a new folder",
            fix="choose another name, or remove it first",
        )
    if source.resolve() in target.resolve().parents:
        raise DatasetError(
            target,
            found=f"a folder inside {source}",
            expected="a folder outside it",
            fix="choose another place",
        )
    with whole_folder(target, made_of) as temporary:
        yield temporary


def copy_file(source: Path, target: Path) -> None:
    """Copy a file with its times, making the folder it goes to."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    shutil.copystat(source, target)
    target.chmod(0o644)  # data sets are often read-only; the copy is the user's own


def copy_image(source: Path, target: Path) -> None:
    """Copy an image or label file, and for a TIFF stack the file with its spacing."""
    copy_file(source, target)
    spacing_file = sidecar(source) if source.suffix.lower() in (".tif", ".tiff") else None
    if spacing_file is not None:
        copy_file(spacing_file, target.with_suffix(".json"))
