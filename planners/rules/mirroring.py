"""Axes that may be mirrored: those whose two directions no label tells apart."""

from __future__ import annotations

import re
from collections import Counter

from balrsam_pipeline.plan import Fingerprint
from planners.rules.decision import Decision
from planners.rules.slice_axis import Order

# words of label names -> the anatomical axis whose directions they name, by the letters of orientation codes
_DIRECTIONS = (
    ({"left", "right", "l", "r"}, "LR"),
    ({"anterior", "posterior", "ventral", "dorsal"}, "AP"),
    ({"superior", "inferior", "upper", "lower"}, "SI"),
)


def mirror_axes(
    fingerprint: Fingerprint, label_names: tuple[str, ...], order: Order, slicing_axes: tuple[int, ...]
) -> Decision[tuple[int, ...]]:
    """Transposed axes to mirror in training and prediction.

    Where labels come in pairs that differ only by a direction (left and right kidney), the mirror image is of the other
    label: that axis is left out. Slices are never mirrored across, unless they are cut along all axes.
    """
    candidates = (0, 1, 2) if slicing_axes == (0, 1, 2) else (1, 2)
    orientation = Counter(case.orientation for case in fingerprint.cases).most_common(1)[0][0]
    told_apart = {axis: letters for letters in _paired(label_names) for axis in _array_axes(orientation, letters, order)}
    allowed = tuple(axis for axis in candidates if axis not in told_apart)
    left_out = sorted({told_apart[axis] for axis in candidates if axis in told_apart})
    if left_out:
        named = " and ".join({"LR": "left–right", "AP": "front–back", "SI": "head–feet"}[letters] for letters in left_out)
        return Decision(allowed, f"all but {named}: labels are named by that direction, and mirroring would swap them")
    return Decision(allowed, "no label is told apart by a direction, so mirror images are as good as the images")


def _paired(label_names: tuple[str, ...]) -> list[str]:
    """The directions that occur on both sides among label names: "kidney_left", "kidney_right" -> ["LR"]."""
    words = [set(re.split(r"[^a-z]+", name.casefold())) for name in label_names]
    return [letters for names, letters in _DIRECTIONS if len({word for label in words for word in label & names}) > 1]


def _array_axes(orientation: str, letters: str, order: Order) -> list[int]:
    """The transposed array axes along which `letters` lie, for an orientation code in (x, y, z) order."""
    if len(orientation) != 3:
        return []
    raw = [2 - index for index, letter in enumerate(orientation) if letter in letters]
    return [order.index(axis) for axis in raw]
