"""What must go before a step is done again, so that its command does not take damaged or outdated files for
finished work."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from balrsam_pipeline.execution.lock import LOCK_NAME, lock_holder
from balrsam_pipeline.execution.os_lock import alive
from balrsam_pipeline.run.file_hashes import find_files
from balrsam_pipeline.run.state import StepState
from balrsam_pipeline.run.step import Step

LOCKS = ".balrsam*.lock"
LEFTOVER = re.compile(r"\.tmp-(?P<pid>\d+)-.+")


def clear_for(step: Step, state: StepState, bases: Mapping[str, Path]) -> None:
    """Remove outputs of a step that are damaged, with what marks them as finished, or all that other inputs
    made."""
    present = find_files(step.outputs, bases)
    damaged = [present[label] for label in state.damaged if label in present]
    for label in filter(_is_inside, state.damaged):
        base, _, rest = label.partition("/")
        for marker in step.finished(bases[base] / rest):
            marker.unlink(missing_ok=True)
    for path in damaged:
        path.unlink(missing_ok=True)
    if state.same_inputs:
        return
    for path in find_files(step.outdated, bases).values():
        path.unlink(missing_ok=True)
    for pattern in step.outdated:
        base, _, rest = pattern.partition("/")
        if "*" not in rest and (bases[base] / rest).is_dir():
            shutil.rmtree(bases[base] / rest, ignore_errors=True)


def remove_leftovers(folders: Iterable[Path]) -> None:
    """Remove temporary files of dead processes, and locks that they left, below `folders`; where another
    process is at work, they stay."""
    for top in folders:
        for path in [*top.rglob(".tmp*"), *top.rglob(LOCKS)]:
            leftover = LEFTOVER.fullmatch(path.name)
            if (
                path.is_file()
                and not _in_use(path, top)
                and (leftover is None or not alive(int(leftover["pid"])))
            ):
                path.unlink(missing_ok=True)


def _in_use(path: Path, top: Path) -> bool:
    """Whether another process holds the folder of `path`, or one between it and `top`; our own locks stay
    too."""
    folders = [folder for folder in path.parents if folder.is_relative_to(top)]
    holders = [lock_holder(folder, name=lock.name) for folder in folders for lock in folder.glob(LOCKS)]
    return any(
        holder is not None and (holder.pid != os.getpid() or path.name == LOCK_NAME) for holder in holders
    )


def _is_inside(label: str) -> bool:
    """Whether a label stays below its base; a record that was tampered with might not."""
    rest = label.partition("/")[2]
    return not rest.startswith("/") and ".." not in rest.split("/")
