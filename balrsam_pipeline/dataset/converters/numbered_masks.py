"""Further masks of one image, as in BUSI: `benign (3)_mask_1.png` beside `benign (3)_mask.png`.

Only a mask without a number makes others its continuations: `_mask_1` and `_mask_2` alone may be the
drawings of two readers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from balrsam_pipeline.dataset.converters.source_files import stem_of

NUMBERED = re.compile(r"(?P<first>(?P<case>.+)[_\-. ]masks?)(?P<number>[_\-. ]*\(?\d+\)?)", re.IGNORECASE)


def first_mask_of(stem: str, stems: set[str]) -> str:
    """The mask that a name continues; '' where it is not one more mask of the same image.

    Args:
        stems: all names of the folder, images and masks.

    Example:
        >>> first_mask_of("a_mask_1", {"a", "a_mask", "a_mask_1"})
        'a_mask'
        >>> first_mask_of("a_mask_1", {"a", "a_1", "a_mask", "a_mask_1"})
        ''
    """
    match = NUMBERED.fullmatch(stem)
    if match is None or match["first"] not in stems or match["case"] + match["number"] in stems:
        return ""
    return match["first"]


def joined(images: Sequence[Path], masks: Sequence[Path]) -> dict[Path, tuple[Path, ...]]:
    """The first mask of each image -> all of them, in the order of their numbers."""
    stems = {stem_of(path) for path in (*images, *masks)}
    further: dict[str, list[Path]] = {}
    firsts = []
    for path in masks:
        first = first_mask_of(stem_of(path), stems)
        if first:
            further.setdefault(first, []).append(path)
        else:
            firsts.append(path)
    return {path: (path, *sorted(further.get(stem_of(path), []), key=_number)) for path in firsts}


def _number(path: Path) -> int:
    return int(re.findall(r"\d+", stem_of(path))[-1])
