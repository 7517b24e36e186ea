"""From the colours or grey values of masks to label values.

A map's keys are colours, (grey,) or (red, green, blue), ranges of grey values, (`RANGE`, first, last), or
(`ALL`,): every colour but black that no other key names.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.grey_values import (
    VOID,
    by_ranges,
    has_void,
    is_blurred,
    numbered,
    plateaus,
    threshold,
    void_as_ignore,
)
from balrsam_pipeline.errors import DatasetError, UsageError

LOG = logging.getLogger(__name__)
Colour = tuple[int, ...]
RANGE, ALL = -1, -2  # mark a key as a range, or as all that is not black; no colour begins with them
MANY = 64  # more different values than this are no mask
SHOWN = 12  # colours in a message


def parse_value_map(text: str) -> dict[Colour, int]:
    """Read "255=1", "128-255=1", "all=1" or "#ff0000=1,0/255/0=2": grey value, range of them, all that is not
    black, hex colour or red/green/blue, each with its label value.

    Raises:
        UsageError: the text is not of this form.
    """
    parsed: dict[Colour, int] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        colour, _, value = item.partition("=")
        try:
            parsed[_parse_colour(colour.strip())] = int(value)
        except ValueError:
            raise UsageError(
                "--value-map",
                found=f"'{item}'",
                expected="COLOUR=VALUE, with a grey value, a range of them, #rrggbb, r/g/b or all",
                fix="for example: --value-map 255=1, --value-map 128-255=1, --value-map all=1, or "
                "--value-map '#ff0000=1,0/255/0=2'",
            ) from None
    return parsed


def count_colours(mask_czyx: npt.NDArray[Any]) -> dict[Colour, int]:
    """The different colours of a mask of whole numbers, ascending, and their pixels; transparency is not
    looked at, equal parts make a grey."""
    channels = _colours(mask_czyx).astype(np.uint64)
    if channels.shape[0] == 1:
        values, counts = np.unique(channels, return_counts=True)
        return {(int(value),): int(count) for value, count in zip(values, counts, strict=True)}
    packed = (channels[0] << 32) | (channels[1] << 16) | channels[2]
    values, counts = np.unique(packed, return_counts=True)
    return {
        _canonical((int(value) >> 32, (int(value) >> 16) & 0xFFFF, int(value) & 0xFFFF)): int(count)
        for value, count in zip(values, counts, strict=True)
    }


def all_colours(counts: Iterable[Mapping[Colour, int]]) -> dict[Colour, int]:
    """The colours of several masks, and their pixels in all of them."""
    total: Counter[Colour] = Counter()
    for some in counts:
        total.update(some)
    return dict(total)


def choose_value_map(
    counts: Mapping[Colour, int], given: Mapping[Colour, int], where: object
) -> dict[Colour, int]:
    """The map for a whole dataset: the one given, else what admits no doubt.

    Masks of 0 and one other value become 0 and 1; values 0, 1, 2 … without gaps stay. Black is background
    unless stated.

    Args:
        counts: all colours that occur in any mask -> their pixels.
        given: colour -> label value, or empty.

    Raises:
        DatasetError: a colour is in doubt; the message lists those found.
    """
    ordered = sorted(counts)
    complete = {(0,): 0} | dict(given)
    greys = all(len(colour) == 1 for colour in ordered)
    numbers = [colour[0] for colour in ordered]
    if not given and greys and numbers == list(range(len(ordered))) and not _is_smeared(counts):
        return {colour: colour[0] for colour in ordered}
    if not given and len(ordered) == 2 and not any(ordered[0]):
        return {ordered[0]: 0, ordered[1]: 1}
    ranges = [key for key in given if key[0] == RANGE]
    if (ALL,) in given or (ranges and greys):  # a threshold: what is in no range is background
        return complete
    unknown = [colour for colour in ordered if colour not in complete]
    if unknown:
        raise DatasetError(
            where,
            found=f"{len(unknown)} colour{'s' * (len(unknown) > 1)} without a label value: {_shown(unknown)}",
            expected="a label value for every colour in the masks",
            fix=_way_out(counts, unknown, given),
        )
    return complete


def require_labels(colours: Iterable[Colour], value_map: Mapping[Colour, int], where: object) -> None:
    """Refuse a map that makes background of everything; name label values that no mask has in a warning.

    Args:
        colours: all that occur in any mask.

    Raises:
        DatasetError: no colour becomes a label.
    """
    ordered = sorted(set(colours))
    pixels = np.array([colour * (3 // len(colour)) for colour in ordered], dtype=np.int64)
    present = set(map(int, np.unique(apply_value_map(pixels.T.reshape(3, 1, 1, -1), value_map))))
    missing = sorted(set(value_map.values()) - present - {0})
    if not present - {0}:
        raise DatasetError(
            where,
            found=f"masks of {_shown(ordered)}, of which the value map makes background alone",
            expected="masks in which something is labelled",
            fix=f"name a value that occurs in them, such as --value-map {_written(ordered[-1])}=1, or all=1",
        )
    if missing:
        LOG.warning("no mask holds what would become label %s", ", ".join(map(str, missing)))


def _is_smeared(counts: Mapping[Colour, int]) -> bool:
    """Whether greys, though without gaps, are the blur of a few: large masks saved as JPEG have all 256."""
    greys = {colour[0]: count for colour, count in counts.items()}
    return max(greys) == VOID and (is_blurred(greys) or bool(plateaus(greys)))


def _way_out(counts: Mapping[Colour, int], unknown: Sequence[Colour], given: Mapping[Colour, int]) -> str:
    """What to do about colours without a label value: a threshold only where they are the fringe of two
    greys, since it makes one label of all; of several greys a range about each."""
    greys = {colour[0]: count for colour, count in counts.items() if len(colour) == 1}
    if not given and len(greys) == len(counts):
        if is_blurred(greys):
            apart = f"; if each is a label of its own: '{numbered(greys)}'" if len(greys) <= SHOWN else ""
            return (
                "rare values between two greys come from JPEG or smoothing: choose a threshold, such as "
                f"--value-map '{threshold(greys)}', which makes the rest background{apart}"
            )
        if flat := plateaus(greys):
            return by_ranges(flat, greys)
        if has_void(greys):
            return (
                "255 usually means void, pixels that nobody labelled: keep them out of training and scores "
                f"as the label named ignore, whose value is the highest: {void_as_ignore(greys)}; if 255 is "
                "a label, give it another name"
            )
    if len(counts) > MANY:
        return "masks of so many colours were blurred or saved as JPEG: export them without anti-aliasing"
    free = max(given.values(), default=0) + 1
    entries = [f"{_written(colour)}={value}" for colour, value in given.items()]
    entries += [f"{_written(colour)}={free + index}" for index, colour in enumerate(unknown[:SHOWN])]
    entries += ["…"] if len(unknown) > SHOWN else []
    return (
        f"name them, each with its label's value: --value-map '{','.join(entries)}' (0 for what is "
        "background), or make all but black one label: --value-map all=1"
    )


def _written(colour: Colour) -> str:
    """A key as `parse_value_map` reads it."""
    return f"{colour[1]}-{colour[2]}" if colour[0] == RANGE else "/".join(map(str, colour))


def _shown(colours: Sequence[Colour]) -> str:
    more = " …" if len(colours) > SHOWN else ""
    return ", ".join(map(_written, colours[:SHOWN])) + more


def apply_value_map(mask_czyx: npt.NDArray[Any], value_map: Mapping[Colour, int]) -> npt.NDArray[np.uint16]:
    """Turn a mask (channel, z, y, x) into label values (z, y, x); colours that are not in the map become 0.

    Where ranges overlap, the later one counts; `ALL` gives way to every other key.
    """
    colours = _colours(mask_czyx)
    count = colours.shape[0]
    label = np.zeros(colours.shape[1:], dtype=np.uint16)
    if (ALL,) in value_map:
        label[np.any(colours != 0, axis=0)] = value_map[(ALL,)]
    for colour, value in value_map.items():
        if colour[0] == ALL:
            continue
        if colour[0] == RANGE:
            inside = np.all((colours >= colour[1]) & (colours <= colour[2]), axis=0)
            label[inside] = value
        elif len(colour) <= count:  # a true colour cannot occur in a grey mask
            wanted = np.array(colour if len(colour) == count else colour * count).reshape(-1, 1, 1, 1)
            label[np.all(colours == wanted, axis=0)] = value
    return label


def _colours(mask_czyx: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One grey or three colour channels; a second or fourth, transparency, is dropped."""
    return mask_czyx[:3] if mask_czyx.shape[0] > 2 else mask_czyx[:1]


def _canonical(colour: Colour) -> Colour:
    return colour[:1] if len(set(colour)) == 1 else colour


def _parse_colour(text: str) -> Colour:
    if text.lower() == "all":
        return (ALL,)
    limits = re.fullmatch(r"(\d+)\s*-\s*(\d+)", text)
    if limits:
        first, last = int(limits[1]), int(limits[2])
        if first > last:
            raise ValueError(text)
        return RANGE, first, last
    if text.startswith("#") and len(text) == 7:
        parts = tuple(int(text[start : start + 2], 16) for start in (1, 3, 5))
    else:
        parts = tuple(int(part) for part in text.split("/"))
    if len(parts) not in (1, 3) or any(part < 0 for part in parts):
        raise ValueError(text)
    return _canonical(parts)
