"""Where DICOM files lie, and which that no series could be made of seem to be damaged slices.

GDCM passes over what it cannot read. Such a file is recognised by the class that its first bytes name, or, of
those that name none, by its own name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from pathlib import Path

from balrsam_pipeline.protect import identity

LOG = logging.getLogger(__name__)
LISTED = 5  # names in a message
PREAMBLE, MAGIC = 128, b"DICM"  # how a DICOM file begins
ENDING = ".dcm"
HEAD_BYTES = 1 << 16  # of a file: the class and UIDs come before the pixels
_UID = re.compile(rb"(\d+(?:\.\d+){4,})")  # the first in a file is its class
_NUMBERS = re.compile(rb"[\d.]+")  # with points: UIDs, whole
# where no magic is, the element (0008,0016) alone says it: texts name classes, too
_CLASS_ELEMENT = re.compile(
    rb"\x08\x00\x16\x00(?:UI..|.{4})(1\.2\.840\.10008\.5\.1\.4\.1\.1\.[\d.]+)", re.DOTALL
)


def folders_of(top: Path, *, tell: bool = True) -> list[Path]:
    """A folder and all below it, each once, sorted; links are followed, unless they lead to a folder that has
    been met or that lies above. Folders below that may not be read (lost+found) are left out.

    Args:
        tell: name those in a warning.

    Raises:
        PermissionError: the folder itself may not be read.
    """
    seen = {identity(parent) for parent in top.resolve().parents}
    found, closed = list[Path](), list[Path]()
    folders, links = [top], list[Path]()
    while folders or links:
        place = (
            folders.pop() if folders else heappop(links)
        )  # a folder goes by its own name, where it has one
        if identity(place) in seen:
            continue
        seen.add(identity(place))
        try:
            below = [path for path in place.iterdir() if path.is_dir()]
        except PermissionError:
            if place == top:
                raise
            closed.append(place)
            continue
        found.append(place)
        for path in below:
            if path.is_symlink():
                heappush(links, path)
            else:
                folders.append(path)
    if closed and tell:
        shown = ", ".join(str(place.relative_to(top)) for place in sorted(closed)[:LISTED])
        more = " …" if len(closed) > LISTED else ""
        LOG.warning("%s: folders that may not be read are passed over: %s%s", top, shown, more)
    return [top, *sorted(found[1:])]


def begins_as_dicom(file: Path) -> bool:
    """Whether a file has the magic of DICOM; older ones lack it."""
    return _has_magic(_head(file, PREAMBLE + len(MAGIC)))


def damaged_slices(others: Iterable[Path], series: Sequence[Sequence[Path]]) -> dict[Path, frozenset[str]]:
    """Of files that are in no series those that seem to be damaged slices: of the class of one of the series,
    or of none and called .dcm or, but for digits, like a slice beside them. Hidden files are not.

    Args:
        series: the files of each series of images.

    Returns:
        each with the UIDs, and other numbers with points, in its first bytes.
    """
    classes = {_class_in(_head(files[0], HEAD_BYTES)) for files in series}
    names = {_without_digits(file) for files in series for file in files}
    damaged: dict[Path, frozenset[str]] = {}
    for file in others:
        if file.name.startswith("."):
            continue
        head = _head(file, HEAD_BYTES)
        kind = _class_in(head)
        called = file.suffix.lower() == ENDING or _without_digits(file) in names
        if kind in classes if kind else _has_magic(head) or called:
            damaged[file] = frozenset(number.decode("ascii") for number in _NUMBERS.findall(head))
    return damaged


def _class_in(head: bytes) -> bytes:
    """The UID of what kind of object a file holds (a CT slice, a report …), from its first bytes; empty where
    none can be read."""
    found = _UID.search(head, PREAMBLE) if _has_magic(head) else _CLASS_ELEMENT.search(head)
    return found[1] if found and found.end() < len(head) else b""


def _has_magic(head: bytes) -> bool:
    return head[PREAMBLE:].startswith(MAGIC)


def _without_digits(file: Path) -> tuple[Path, str]:
    return file.parent, re.sub(r"\d+", "", file.name)


def _head(file: Path, count: int) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(count)
    except OSError:  # a link to nowhere, no permission
        return b""
