"""The files that a case has in a folder of predictions, and which of them an earlier run left.

What is to be made again is dated 1970: it stays until its case is done, and a run that is killed and
continued does not take it for its own. A JSON file belongs to a prediction where it is the spacing of a stack
and nothing else; any other under such a name is somebody's, and stays as it is.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from itertools import chain, count
from pathlib import Path

from balrsam_pipeline.imageio import images_among, written_beside
from balrsam_pipeline.imageio.tiff import is_written_sidecar
from balrsam_pipeline.inference.probabilities import SUFFIX, probability_path
from balrsam_pipeline.layout import DESCRIPTION, PREDICTION
from balrsam_pipeline.outdated import LISTED, STALE_NS, is_current
from balrsam_pipeline.printable import listed

LOG = logging.getLogger(__name__)
SEGMENTATION, STRUCTURES = "_seg.dcm", "_rtstruct.dcm"  # what follows the case in names of DICOM objects
SET_ASIDE = "outdated"  # sub-folder, which no command looks into


def files_of_case(folder: Path, case: str, label_map: str) -> tuple[Path, ...]:
    """All that a case may have in a folder: its label map, of this name, and what lies beside that."""
    objects = (folder / f"{case}{ending}" for ending in (SEGMENTATION, STRUCTURES))
    path = folder / label_map
    return path, *written_beside(path), probability_path(folder, case), *objects


def mark_stale(paths: Iterable[Path]) -> int:
    """Date those that are there 1970; returns how many were not so before."""
    marked = 0
    for path in paths:
        if is_current(path) and _is_ours(path):
            os.utime(path, ns=(STALE_NS, STALE_NS))
            marked += 1
    return marked


def mark_all(folder: Path) -> int:
    """The same for every prediction in a folder, whoever's case it is."""
    return mark_stale(_predictions(folder))


def _predictions(folder: Path) -> set[Path]:
    if not folder.is_dir():
        return set()
    files = [path for path in folder.iterdir() if path.is_file() and path.name[0] != "."]
    beside = [path for path in files if path.name.endswith((SUFFIX, SEGMENTATION, STRUCTURES))]
    label_maps = images_among(files)
    return {*label_maps, *chain.from_iterable(map(written_beside, label_maps)), *beside}


def remove_stale(paths: Iterable[Path]) -> None:
    """Remove what an earlier run left of a case that is done: it is of another model, image or format."""
    for path in paths:
        if _is_stale(path):
            path.unlink()


def _is_stale(path: Path) -> bool:
    return path.is_file() and not is_current(path) and _is_ours(path)


def _is_ours(path: Path) -> bool:
    if path.suffix != ".json":
        return True
    return path.name not in (PREDICTION, DESCRIPTION) and is_written_sidecar(path)


def set_aside_stale(case: str, paths: Iterable[Path]) -> None:
    """Move what an earlier run left of a case that has failed into a sub-folder: it must not pass for a
    result of this run, and may be the only one there is."""
    _set_aside(f"{case} failed", paths)


def set_aside_renamed(case: str, name_now: str, paths: Iterable[Path]) -> None:
    """The same of a case that has another name now, and is predicted under that."""
    files = list(paths)
    mark_stale(files)
    _set_aside(f"{case} is called {name_now} now", files)


def set_aside_all_stale(folder: Path) -> None:
    """The same for every case in a folder that this run was not asked for, or did not come to."""
    _set_aside(f"{folder} held other cases", sorted(_predictions(folder)))


def _set_aside(why: str, paths: Iterable[Path]) -> None:
    left = [path for path in paths if _is_stale(path)]
    for path in left:
        place = path.parent / SET_ASIDE
        place.mkdir(exist_ok=True)
        path.replace(_free(place / path.name))
    if left:
        LOG.warning(
            "%s; what an earlier run predicted was moved into the sub-folder %s: %s",
            why,
            SET_ASIDE,
            listed([path.name for path in left], LISTED),
        )


def _free(path: Path) -> Path:
    """The path, or where one such was set aside before, the first numbered one that is free."""
    names = chain([path.name], (f"{number}-{path.name}" for number in count(2)))
    return next(place for place in map(path.with_name, names) if not os.path.lexists(place))
