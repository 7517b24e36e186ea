"""What grey values in masks are likely to mean: labels, numbers with 255 for void, or the blur of JPEG.

Advice rests on it: a threshold repairs a blurred mask of one label, and destroys one of several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

VOID = 255  # PASCAL VOC, Cityscapes and their followers: nobody labelled this pixel
LARGEST_NUMBER = 32  # numbers of labels with gaps between; greys that are spread out lie beyond
FEWEST_BLURRED = 6  # different values; fewer are labels
FREQUENT = 0.05  # share of the voxels that are not background, above which a grey is no fringe
NOISE = 16  # greys about a flat one that JPEG makes of it
SPREAD = 127  # values beyond, up to 255, are more likely greys than numbers of labels


def has_void(greys: Iterable[int]) -> bool:
    """Whether values are 0 … n, with gaps where n is small, and 255; not all that a byte can hold.

    Example:
        >>> has_void((0, 1, 255)), has_void((0, 128, 255)), has_void((0, 255))
        (True, False, False)
    """
    numbers = sorted(set(greys) - {0, VOID})
    consecutive = numbers == list(range(1, len(numbers) + 1)) and len(numbers) < VOID - 1
    return VOID in greys and bool(numbers) and (consecutive or numbers[-1] <= LARGEST_NUMBER)


def is_blurred(counts: Mapping[int, int]) -> bool:
    """Whether two frequent greys, the darkest and the brightest, have many rare ones between them.

    Args:
        counts: grey value -> voxels.

    Example:
        >>> is_blurred({0: 900, 128: 40, 255: 60})
        False
        >>> is_blurred({0: 900, 255: 300} | {grey: 4 for grey in range(28, 250, 28)})
        True
    """
    greys = sorted(counts)
    if _fringes(counts):
        return True
    if len(greys) < FEWEST_BLURRED or has_void(greys):
        return False
    background = max(greys, key=lambda grey: counts[grey])
    other_end = greys[-1] if background - greys[0] <= NOISE else greys[0]
    if min(background - greys[0], greys[-1] - background) > NOISE:
        return False
    rest = {grey: count for grey, count in counts.items() if abs(grey - background) > NOISE}
    frequent = [grey for grey, count in rest.items() if count >= FREQUENT * sum(rest.values())]
    between = [grey for grey in rest if abs(grey - other_end) > NOISE]
    return len(between) > 2 and bool(frequent) and all(abs(grey - other_end) <= NOISE for grey in frequent)


def plateaus(counts: Mapping[int, int]) -> tuple[int, ...]:
    """The frequent greys, ascending, of masks of several labels that JPEG or smoothing blurred: three or
    more, each much of what lies about it, with neighbours that it was smeared into; () where values are not
    such masks'.

    Args:
        counts: grey value -> voxels.

    Example:
        >>> plateaus({0: 900, 128: 140, 255: 160} | dict.fromkeys((1, 2, 60, 127, 129, 200, 254), 3))
        (0, 128, 255)
        >>> plateaus({0: 900, 50: 40, 100: 30, 150: 20, 200: 10, 250: 1})
        ()
    """
    if len(counts) < FEWEST_BLURRED or not SPREAD < max(counts) <= VOID or has_void(counts):
        return ()
    background = max(counts, key=lambda grey: counts[grey])
    least = FREQUENT * sum(count for grey, count in counts.items() if abs(grey - background) > NOISE)
    found: list[int] = []
    for grey in sorted(counts, key=lambda grey: -counts[grey]):
        if counts[grey] >= least and all(abs(grey - other) > NOISE for other in found):
            found.append(grey)
    about = {grey: {other for other in counts if abs(other - grey) <= NOISE} for grey in found}
    flat = all(counts[grey] > sum(counts[other] for other in near) / 3 for grey, near in about.items())
    noisy = all(any(0 < abs(other - grey) <= 2 for other in near) for grey, near in about.items())
    return tuple(sorted(found)) if len(found) > 2 and flat and noisy else ()


def by_ranges(flat: Sequence[int], greys: Iterable[int]) -> str:
    """What to do about blurred masks of several labels: best other files, else a value map of ranges, one
    about each frequent grey but the darkest, which meet half-way.

    Args:
        flat: the frequent greys, ascending.
        greys: all.

    Example:
        >>> by_ranges((0, 128, 255), (0, 1, 128, 255)).rpartition("--value-map ")[2]
        "'64-191=1,192-255=2'"
    """
    starts = [(low + high + 1) // 2 for low, high in pairwise(flat)]
    ends = [*(start - 1 for start in starts[1:]), max(greys)]
    pairs = enumerate(zip(starts, ends, strict=True), 1)
    written = ",".join(f"{start}-{end}={value}" for value, (start, end) in pairs)
    return (
        "rare values between frequent greys come from JPEG or smoothing, and borders between two labels pass "
        "through the greys of others: export the masks again as PNG, without anti-aliasing; if these files "
        f"are all there is and the labels are {', '.join(map(str, flat[1:]))}: a range for each, --value-map "
        f"'{written}'"
    )


def _fringes(counts: Mapping[int, int]) -> bool:
    """Whether all greys lie about the darkest or the brightest, several at either end, of which one is most
    of what lies there: what JPEG of high quality makes of two values. Beside 255 for void lies nothing."""
    low, high = min(counts), max(counts)
    if high - low <= 2 * NOISE or any(low + NOISE < grey < high - NOISE for grey in counts):
        return False
    ends = [[count for grey, count in counts.items() if abs(grey - end) <= NOISE] for end in (low, high)]
    return all(len(end) > 1 and max(end) > sum(end) / 2 for end in ends)


def threshold(greys: Iterable[int]) -> str:
    """The range of a value map that makes the brighter half label 1.

    Example:
        >>> threshold((0, 3, 252, 255))
        '128-255=1'
    """
    brightest = max(greys)
    return f"{(brightest + 1) // 2}-{brightest}=1"


def numbered(greys: Iterable[int]) -> str:
    """A value map that gives each grey but 0 a label value, in their order.

    Example:
        >>> numbered((0, 128, 255))
        '128=1,255=2'
    """
    return ",".join(f"{grey}={value}" for value, grey in enumerate(sorted(set(greys) - {0}), 1))


def void_as_ignore(greys: Iterable[int]) -> str:
    """What to do about 255 beside numbers of labels, as options of `balrsam convert`.

    Example:
        >>> void_as_ignore((0, 1, 255))
        "--value-map '1=1,255=2' --labels label_1=1 ignore=2"
    """
    numbers = sorted(set(greys) - {0, VOID})
    ignore = len(numbers) + 1
    names = [f"label_{value}={value}" for value in range(1, ignore)]
    return f"--value-map '{numbered(greys)}' --labels {' '.join(names)} ignore={ignore}"
