"""The files that a case has in a folder of predictions, and which of them an earlier run left.

What is to be made again is dated 1970: it stays until its case is done, and a run that is killed and
continued does not take it for its own.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from balrsam_pipeline.imageio import images_among
from balrsam_pipeline.inference.probabilities import SUFFIX, probability_path

LOG = logging.getLogger(__name__)
STALE_NS = 0  # modification time of a prediction that is to be made again
SEGMENTATION, STRUCTURES = "_seg.dcm", "_rtstruct.dcm"  # what follows the case in names of DICOM objects
SET_ASIDE = "outdated"  # sub-folder, which no command looks into


def files_of_case(folder: Path, case: str, label_map: str) -> tuple[Path, ...]:
    """All that a case may have in a folder: its label map, of this name, and what lies beside that."""
    beside = (folder / f"{case}{ending}" for ending in (SEGMENTATION, STRUCTURES))
    return folder / label_map, probability_path(folder, case), *beside


def is_current(path: Path) -> bool:
    """Whether a prediction is there and need not be made again."""
    return path.is_file() and path.stat().st_mtime_ns != STALE_NS


def mark_stale(paths: Iterable[Path]) -> int:
    """Date those that are there 1970; returns how many were not so before."""
    marked = 0
    for path in paths:
        if is_current(path):
            os.utime(path, ns=(STALE_NS, STALE_NS))
            marked += 1
    return marked


def mark_all(folder: Path) -> int:
    """The same for every prediction in a folder, whoever's case it is."""
    if not folder.is_dir():
        return 0
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    beside = [path for path in files if path.name.endswith((SUFFIX, SEGMENTATION, STRUCTURES))]
    return mark_stale({*images_among(files), *beside})


def remove_stale(paths: Iterable[Path]) -> None:
    """Remove what an earlier run left of a case that is done: it is of another model, image or format."""
    for path in paths:
        if path.is_file() and not is_current(path):
            path.unlink()


def set_aside_stale(case: str, paths: Iterable[Path]) -> None:
    """Move what an earlier run left of a case that has failed into a sub-folder: it must not pass for a
    result of this run, and may be the only one there is."""
    left = [path for path in paths if path.is_file() and not is_current(path)]
    for path in left:
        place = path.parent / SET_ASIDE
        place.mkdir(exist_ok=True)
        path.replace(place / path.name)
    if left:
        LOG.warning(
            "%s failed; what an earlier run predicted of it was moved into the sub-folder %s: %s",
            case,
            SET_ASIDE,
            ", ".join(path.name for path in left),
        )
