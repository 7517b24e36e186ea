"""Which predictions in a folder an earlier run left, to be made again: those that are dated 1970."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.layout import PREDICTION
from balrsam_pipeline.printable import listed

STALE_NS = 0  # modification time of a prediction that is to be made again
LISTED = 5  # cases that a message names


def is_current(path: Path) -> bool:
    """Whether a prediction is there and need not be made again."""
    return path.is_file() and path.stat().st_mtime_ns != STALE_NS


def require_current(folder: Path, files: Mapping[str, Path], error: type[BalrsamError]) -> None:
    """Refuse label maps, or probabilities, that an earlier run left in a folder of predictions.

    Args:
        folder: where it has no prediction.json, or that is dated 1970, too (some archives date all files so),
            nobody marked anything in it.
        files: of each case; those that are not there are not looked at.

    Raises:
        BalrsamError: there are such; of the kind `error`.
    """
    if not is_current(folder / PREDICTION):
        return
    old = sorted(case for case, path in files.items() if path.is_file() and not is_current(path))
    if old:
        raise error(
            folder,
            found=f"{len(old)} case{'s' if len(old) > 1 else ''} of an earlier run, to be predicted again: "
            f"{listed(old, LISTED)}",
            expected="predictions of one run (what is to be made again is dated 1970)",
            fix="predict them: the same 'balrsam predict' with --continue and all images; or move their "
            "files elsewhere",
        )
