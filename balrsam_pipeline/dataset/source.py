"""Which raw dataset a folder was made from: `source.json`, so that two datasets of one name never mix."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.errors import BalrsamError, UsageError
from balrsam_pipeline.files import read_json, write_json
from balrsam_pipeline.layout import DESCRIPTION, SOURCE
from balrsam_pipeline.protect import identity, require_outside


def claim_folder(folder: Path, raw: Path) -> None:
    """Write into `folder` that it is made from the raw dataset `raw`.

    Raises:
        UsageError: it is made from another one, or lies inside a raw dataset.
    """
    require_source(folder, raw)
    record = {"raw": str(raw.resolve())}
    path = folder / SOURCE
    try:
        if path.is_file() and read_json(path) == record:
            return
    except BalrsamError:
        pass  # damaged: written anew
    write_json(path, record)


def require_source(folder: Path, raw: Path) -> None:
    """Check that `folder` was made from the raw dataset `raw`.

    A dataset that was moved, or is mounted elsewhere, is told by its old place being no dataset any more.

    Raises:
        UsageError: it was made from another one that is still there, or lies inside `raw`.
    """
    require_outside(folder, raw, "give another --preprocessed and --results")
    path = folder / SOURCE
    if not path.is_file():
        return
    try:
        content = read_json(path)
    except BalrsamError:
        return
    named = content.get("raw") if isinstance(content, dict) else None
    if not isinstance(named, str):
        return
    before = Path(named)
    if (before / DESCRIPTION).is_file() and identity(before) != identity(raw):
        raise UsageError(
            folder,
            found=f"data made from another dataset of that name: {before}",
            expected=f"a folder made from {raw.resolve()}",
            fix="rename one of the two datasets, give other folders (--preprocessed, --results), or remove "
            "this one",
        )
