"""Axes that may be mirrored: in volumes left–right, in pictures all, save where labels tell the directions
apart."""

from __future__ import annotations

import random
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from balrsam_pipeline.plan import CaseFingerprint, Fingerprint
from planners.rules import Decision
from planners.rules.configurations import is_two_dimensional
from planners.rules.slices import Order

ANATOMICAL = 3  # letters of an orientation code; pictures have another
BOTH_SIDES_MM = (
    100.0  # narrower images, as of one hippocampus, show one side of the body; a judgement, docs/decisions.md
)

# Labels lie on one side where nearly all of at least so many cases show them there, by so much of the image's
# width; beside each other half as much is enough, as a heart's chambers are.
ENOUGH_CASES, NEARLY_ALL, ASIDE = 8, 0.95, 0.1
MOST_CASES = 1000  # of more, so many drawn by lot are asked: every other one may be a left eye
LEFT_RIGHT = ("to the patient's left of", "to the patient's right of")
PICTURE_AXES = {"LR": 2, "SI": 1}  # along which directions that label names speak of lie in pictures
DOWN = 1  # the axis of pictures along which layers lie one below the other
PICTURE = {
    DOWN: ("below", "above"),
    2: ("to the right of", "to the left of"),
}  # by axis, along which it grows

# channel names of pictures that are taken upright
UPRIGHT = re.compile(
    r"(?<![a-z])(x[\W_]?rays?|xr|cr|dx|cxr|radiograph\w*|fluoro(scop\w*)?|mammo\w*|oct)(?![a-z])",
    re.IGNORECASE,
)
# and of pictures that are slices of a scanner, in which patients lie in one way; micro-CT is of specimens
SCANNED = re.compile(
    r"(?<![a-zµμ])(?<!micro[\W_])(?<!nano[\W_])(ct|cta|cbct|mri?|mra|fmri|t1\w*|t2\w*|flair|adc|dwi|swi|pd|pdw|pdfs"
    r"|cine|dce|bold|pet|spect)(?![a-z])",
    re.IGNORECASE,
)

# words of label names -> the anatomical axis whose directions they name, by the letters of orientation codes
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_DIRECTIONS = (
    ({"left", "right", "l", "r"}, "LR"),
    ({"anterior", "posterior", "ventral", "dorsal"}, "AP"),
    ({"superior", "inferior", "upper", "lower"}, "SI"),
)


def mirror_axes(
    fingerprint: Fingerprint,
    label_names: tuple[str, ...],
    order: Order,
    slicing_axes: tuple[int, ...],
    *,
    channel_names: tuple[str, ...] = (),
    specimens: bool = False,
) -> Decision[tuple[int, ...]]:
    """Transposed axes to mirror in training and prediction.

    Bodies are alike left and right, not front and back or head and feet, and patients lie in the scanner in
    one way: mirror images along other axes are of nothing that will ever be seen (docs/benchmarks.md has what
    leaving them out brought). Pictures without an anatomical orientation are mirrored along all axes. Where
    labels come in pairs that differ only by a direction (left and right kidney), that axis is left out, and
    so is one along which labels lie on one side in nearly all cases, as the liver does, or in one order, as
    the heart's ventricles do. Volumes too narrow to show both sides are not mirrored: theirs would be the
    other side's, which may never be seen. Slices are never mirrored across, unless they are cut along all
    axes.

    Args:
        channel_names: pictures of patients that are taken upright, such as X-rays, or are slices of CT or MR,
            are not turned over.
        specimens: volumes of a microscope, which lie any way: as pictures, whatever their files say.
    """
    candidates: tuple[int, ...] = (0, 1, 2) if slicing_axes == (0, 1, 2) else (1, 2)
    orientation = Counter(case.orientation for case in fingerprint.cases).most_common(1)[0][0]
    if specimens or len(orientation) != ANATOMICAL:
        return _picture_axes(fingerprint, label_names, order, candidates, channel_names)
    by_name = {
        axis: letters for letters in _paired(label_names) for axis in _array_axes(orientation, letters, order)
    }
    sides = _array_axes(orientation, "LR", order)
    allowed = tuple(axis for axis in candidates if axis in sides and axis not in by_name)
    if "LR" in by_name.values():
        return Decision(
            allowed,
            "none along left–right: labels are named by that direction, and mirroring would swap them",
        )
    width_mm = _width_mm(fingerprint, orientation)
    if width_mm < BOTH_SIDES_MM:
        return Decision(
            (),
            f"none: images of {width_mm:.0f} mm from left to right show one side, whose mirror image may "
            "never be seen",
        )
    if told := _one_sided(fingerprint, label_names, None, LEFT_RIGHT):
        return Decision((), f"none: {told}, and its mirror image will never be seen")
    unknown = any(case.label_thickness_px and not case.label_centres for case in fingerprint.cases)
    return Decision(
        allowed,
        "left–right alone, where slices show it: the body has no other symmetry, and patients lie one way"
        + ("; where labels lie was not measured (by an earlier version)" if unknown else ""),
    )


def _picture_axes(
    fingerprint: Fingerprint,
    label_names: tuple[str, ...],
    order: Order,
    candidates: tuple[int, ...],
    channel_names: tuple[str, ...],
) -> Decision[tuple[int, ...]]:
    """All axes but those whose ends labels are named by, or lie at, or channel names tell apart."""
    told = told_apart(fingerprint, label_names, order)
    if any(UPRIGHT.search(name) for name in channel_names):
        told.setdefault(DOWN, "patients are pictured upright, as the channel names say")
    elif is_two_dimensional(fingerprint) and any(SCANNED.search(name) for name in channel_names):
        told.setdefault(DOWN, "patients lie in a scanner in one way, as the channel names say")
    return Decision(
        tuple(axis for axis in candidates if axis not in told),
        "; ".join(f"not along {'zyx'[axis]}: {reason}" for axis, reason in told.items())
        or "images have no anatomical orientation, so mirror images are as good as the images",
    )


def told_apart(fingerprint: Fingerprint, label_names: tuple[str, ...], order: Order) -> dict[int, str]:
    """The axes of pictures along which labels lie in one order, or are named by it, each with the reason."""
    named = {PICTURE_AXES[letters] for letters in _paired(label_names) if letters in PICTURE_AXES}
    told: dict[int, str] = {}
    for axis, words in PICTURE.items():
        if axis in named:
            told[axis] = "labels are named by that direction, and mirroring would swap them"
        elif found := _one_sided(fingerprint, label_names, order[axis], words):
            told[axis] = f"{found}, and its mirror image will never be seen"
    return told


def _paired(label_names: tuple[str, ...]) -> list[str]:
    """The directions that occur on both sides among label names: "kidney_left", "RightKidney" -> ["LR"]."""
    parts = [set(re.split(r"[^a-z]+", _CAMEL.sub(" ", name).casefold())) for name in label_names]
    return [
        letters
        for names, letters in _DIRECTIONS
        if len({word for label in parts for word in label & names}) > 1
    ]


def _one_sided(
    fingerprint: Fingerprint, label_names: tuple[str, ...], axis: int | None, words: tuple[str, str]
) -> str:
    """What tells one side of an axis from the other in nearly all cases, in words; empty where nothing does.

    Args:
        axis: of the raw arrays; None takes left–right, wherever a case has that.
        words: where what lies further along the axis (or to the left) lies, and where what does not.
    """
    cases: Sequence[CaseFingerprint] = fingerprint.cases
    if len(cases) > MOST_CASES:
        cases = random.Random(0).sample(cases, MOST_CASES)
    places = [_left_of(case) if axis is None else _along(case, axis) for case in cases]
    for name in label_names:
        aside = [place[name] - 0.5 for place in places if name in place]
        if side := _side(aside, ASIDE, words):
            return f"{name} lies {side} the middle in nearly all cases"
    for first, second in combinations(label_names, 2):
        apart = [place[first] - place[second] for place in places if first in place and second in place]
        if side := _side(apart, ASIDE / 2, words):
            return f"{first} lies {side} {second} in nearly all cases"
    return ""


def _side(further: list[float], least: float, words: tuple[str, str]) -> str:
    if len(further) < ENOUGH_CASES or abs(statistics.median(further)) < least:
        return ""
    share = sum(value > 0 for value in further) / len(further)
    return words[0] if share >= NEARLY_ALL else words[1] if share <= 1 - NEARLY_ALL else ""


def _along(case: CaseFingerprint, axis: int) -> dict[str, float]:
    return {name: centre[axis] for name, centre in case.label_centres.items()}


def _left_of(case: CaseFingerprint) -> dict[str, float]:
    """How far towards the patient's left labels lie, from 0 to 1."""
    axes = _array_axes(case.orientation, "LR", (0, 1, 2))
    if not axes:
        return {}
    along = _along(case, axes[0])
    return along if "L" in case.orientation else {name: 1 - place for name, place in along.items()}


def _width_mm(fingerprint: Fingerprint, orientation: str) -> float:
    """How far the typical image reaches from left to right."""
    (axis,) = _array_axes(orientation, "LR", (0, 1, 2))
    return statistics.median(case.shape_zyx[axis] * case.spacing_mm[axis] for case in fingerprint.cases)


def _array_axes(orientation: str, letters: str, order: Order) -> list[int]:
    """The transposed array axes along which `letters` lie, for an orientation code in (x, y, z) order."""
    if len(orientation) != ANATOMICAL:
        return []
    raw = [2 - index for index, letter in enumerate(orientation) if letter in letters]
    return [order.index(axis) for axis in raw]
