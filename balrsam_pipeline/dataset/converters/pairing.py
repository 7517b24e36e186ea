"""Which mask belongs to which image, by their file names.

Rules are tried from the strictest to the loosest; one counts only if it gives every image one mask and every
mask one image. Where none does, nothing is guessed: the files left over are named.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.dataset.case_names import require_case_name
from balrsam_pipeline.dataset.converters.numbered_masks import first_mask_of, joined
from balrsam_pipeline.dataset.converters.source_files import listed, stem_of
from balrsam_pipeline.errors import DatasetError, UsageError

MASK_WORDS = re.compile(
    r"(^(mask|seg|label|gt)[_\-.]+)|([_\-.]*(masks?|seg|segmentation|labels?|gt|ground_?truth|annotations?|manual\d*)$)",
    re.IGNORECASE,
)
IMAGE_WORDS = re.compile(r"(^(image|img)[_\-.]+)|([_\-.]+(image|img|0000|test|training)$)", re.IGNORECASE)
LOG = logging.getLogger(__name__)
CASE = "{case}"
Namer = Callable[[str], str]  # from a file's name without its ending to the case; "" for none


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How names of images and of masks become names of cases; `says` puts it into words."""

    image: Namer
    mask: Namer
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Case -> image and its masks, mostly one, and the rule that was found to hold."""

    pairs: Mapping[str, tuple[Path, tuple[Path, ...]]]
    rule: Rule


def pair_by_name(
    images: Sequence[Path], masks: Sequence[Path], where: Path, pattern: tuple[str, str] | None = None
) -> Pairing:
    """Find each image's mask; where every mask has no image of its own, also those that continue another
    (`numbered_masks`).

    Args:
        where: the folder to name in messages.
        pattern: of the names of images and of masks, such as ("{case}_test", "{case}_manual1"); files that do
            not match are passed over. None tries `rules_for`.

    Raises:
        DatasetError: no rule pairs all files; the message names those left over.
    """
    if pattern is not None:
        rules = [pattern_rule(pattern)]
        images = _matching(images, rules[0].image, pattern[0])
        masks = _matching(masks, rules[0].mask, pattern[1])
    else:
        rules = rules_for([stem_of(path) for path in images], [stem_of(path) for path in masks])
    several = joined(images, masks)
    alone = {path: (path,) for path in masks}
    for masks_of in (alone, several) if pattern is None else (alone,):
        for rule in rules:
            pairs = _pairs(images, tuple(masks_of), rule)
            if pairs:
                for case in pairs:
                    require_case_name(case, where)
                return Pairing(
                    pairs={case: (image, masks_of[mask]) for case, (image, mask) in pairs.items()}, rule=rule
                )
    raise _left_over(images, masks if pattern is not None else tuple(several), rules, where)


def _matching(files: Sequence[Path], namer: Namer, pattern: str) -> list[Path]:
    """The files that a pattern names; the others are named in a warning."""
    others = [path.name for path in files if not namer(stem_of(path))]
    if others:
        LOG.warning("not named as %s, passed over: %s", pattern, listed(others))
    return [path for path in files if namer(stem_of(path))]


def split_one_folder(files: Sequence[Path], pattern: tuple[str, str] | None) -> tuple[list[Path], list[Path]]:
    """Images and masks of a folder that holds both: masks are those whose names say so."""
    if pattern is not None:
        rule = pattern_rule(pattern)
        masks = [path for path in files if _fits(rule.mask, path, pattern[1])]
        return [path for path in files if path not in masks and rule.image(stem_of(path))], masks
    stems = {stem_of(path) for path in files}
    masks = [path for path in files if _says_mask(stem_of(path)) or first_mask_of(stem_of(path), stems)]
    return [path for path in files if path not in masks], masks


def _says_mask(stem: str) -> bool:
    return _without(MASK_WORDS, stem) != stem


def _fits(namer: Namer, path: Path, pattern: str) -> bool:
    """Whether a name matches a pattern that says more than "any name"."""
    return pattern != CASE and bool(namer(stem_of(path)))


def rules_for(images: Sequence[str], masks: Sequence[str]) -> list[Rule]:
    """The rules to try, in this order, for these names (without endings)."""

    def same(name: str) -> str:
        return name

    def image_words(name: str) -> str:
        return _without(IMAGE_WORDS, name)

    def mask_words(name: str) -> str:
        return _without(MASK_WORDS, name)

    def both_words(name: str) -> str:
        return image_words(mask_words(name))

    rules = [
        Rule(image=same, mask=same, says="equal names"),
        Rule(image=same, mask=mask_words, says="names, but for words such as mask"),
        Rule(image=image_words, mask=mask_words, says="names, but for words such as image and mask"),
        Rule(image=image_words, mask=both_words, says="names, but for words such as image and mask"),
    ]
    learnt = _affix_rule(images, masks)
    return [*rules, learnt] if learnt is not None else rules


def pattern_rule(pattern: tuple[str, str]) -> Rule:
    """The rule that two patterns state; * stands for any letters.

    Raises:
        UsageError: a pattern without {case}.

    Example:
        >>> rule = pattern_rule(("{case}_test", "{case}_manual1"))
        >>> rule.image("01_test"), rule.mask("01_manual1"), rule.mask("01_manual2")
        ('01', '01', '')
    """
    for text in pattern:
        if text.count(CASE) != 1:
            raise UsageError(
                "--pattern",
                found=f"'{text}'",
                expected=f"{CASE} once in each, where the name of the case stands",
                fix="for example: --pattern '{case}_test' '{case}_manual1'",
            )
    image, mask = (_namer(text) for text in pattern)
    return Rule(image=image, mask=mask, says=f"{pattern[0]} and {pattern[1]}")


def _namer(pattern: str) -> Namer:
    parts = (re.escape(part).replace(r"\*", ".*") for part in pattern.split(CASE))
    form = re.compile("(?P<case>.+)".join(parts), re.IGNORECASE)

    def name(text: str) -> str:
        match = form.fullmatch(text)
        return match["case"] if match else ""

    return name


def _affix_rule(images: Sequence[str], masks: Sequence[str]) -> Rule | None:
    """What all images begin and end with, and what all masks do; None for fewer than two of either, or where
    images would lose a digit that masks do not have too: numbers tell cases apart."""
    if min(len(images), len(masks)) < 2:
        return None
    (image_start, image_end), (mask_start, mask_end) = _affixes(images), _affixes(masks)
    start = _common_end(image_start, mask_start)  # what is alike belongs to the case
    end = _common_start([image_end, mask_end])
    image_start, mask_start = (text[: len(text) - len(start)] for text in (image_start, mask_start))
    image_end, mask_end = image_end[len(end) :], mask_end[len(end) :]
    if any(letter.isdigit() for letter in image_start + image_end + mask_start):
        return None
    says = f"{image_start}{CASE}{end}{image_end} and {mask_start}{CASE}{end}{mask_end}"
    return Rule(image=_trimmer(image_start, image_end), mask=_trimmer(mask_start, mask_end), says=says)


def _affixes(names: Sequence[str]) -> tuple[str, str]:
    """The longest beginning and the longest end that all names have, not overlapping in any."""
    start = _common_start(names)
    return start, _common_end(*(name[len(start) :] for name in names))


def _common_start(names: Sequence[str]) -> str:
    first, last = min(names), max(names)  # in order, all others begin as these two do
    return first[
        : next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    ]


def _common_end(*names: str) -> str:
    return _common_start([name[::-1] for name in names])[::-1]


def _trimmer(start: str, end: str) -> Namer:
    def name(text: str) -> str:
        if not text.startswith(start) or not text.endswith(end) or len(text) < len(start) + len(end):
            return ""
        return text[len(start) : len(text) - len(end)].strip("_-. ")

    return name


def _without(words: re.Pattern[str], name: str) -> str:
    return words.sub("", name) or name


def _by_case(files: Sequence[Path], namer: Namer) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in files:
        found.setdefault(namer(stem_of(path)), []).append(path)
    return found


def _pairs(images: Sequence[Path], masks: Sequence[Path], rule: Rule) -> dict[str, tuple[Path, Path]] | None:
    """Case -> image and mask; None where the rule is not one to one."""
    left, right = _by_case(images, rule.image), _by_case(masks, rule.mask)
    once = all(len(files) == 1 for files in (*left.values(), *right.values()))
    if not left or "" in left or left.keys() != right.keys() or not once:
        return None
    return {case: (files[0], right[case][0]) for case, files in left.items()}


def _left_over(
    images: Sequence[Path], masks: Sequence[Path], rules: Sequence[Rule], where: Path
) -> DatasetError:
    """What the rule that pairs most files leaves over."""
    tables = [(_by_case(images, rule.image), _by_case(masks, rule.mask)) for rule in rules]
    left, right = max(tables, key=lambda table: len(table[0].keys() & table[1].keys()))
    doubled = [
        f"{', '.join(path.name for path in files)} of case {case}"
        for table in (left, right)
        for case, files in table.items()
        if len(files) > 1
    ]
    lonely = [
        (what, sorted(path.name for case in mine.keys() - theirs.keys() for path in mine[case]))
        for what, mine, theirs in (
            ("images without a mask", left, right),
            ("masks without an image", right, left),
        )
    ]
    found = [f"{len(names)} {what}: {listed(names)}" for what, names in lonely if names]
    found += [f"several files of one case: {listed(doubled)}"] if doubled else []
    return DatasetError(
        where,
        found="; ".join(found) or f"{len(images)} images and {len(masks)} masks",
        expected="for every image one mask whose name is the same but for a word such as mask",
        fix="say how they are named, such as --pattern '{case}_test' '{case}_manual1'; rename or move away "
        "what is left over; images without masks belong in a folder of their own (--test)",
    )
