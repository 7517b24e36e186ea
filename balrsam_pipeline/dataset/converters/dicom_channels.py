"""Which DICOM series of a case is which channel: by what they say of themselves, else by their order."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from itertools import permutations

from balrsam_pipeline.dataset.converters.source_files import listed
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio.dicom import Series

LOG = logging.getLogger(__name__)
MOST_SERIES = 6  # of a case that are put in every order
EXACT, WORD, NONE = 2, 1, 0
MODALITY_NAMES = {"PT": "pet", "MR": "mri", "NM": "spect"}


Case = tuple[str, tuple[Series, ...]]  # its name and its series


def order_series(cases: Sequence[Case], names: Sequence[str]) -> list[tuple[Series, ...]]:
    """The series of every case in the order of the channel `names`; which is which is logged.

    Descriptions decide, as in `decide_channels`. Where those of no case do, the order of series numbers
    counts, as long as it is the same in all cases.

    Raises:
        DatasetError: the descriptions of a case leave open which channel they are, where those of other cases
            say so; descriptions mean different channels in different cases; or the order of series differs
            between cases and nothing says which channel they are.
    """
    decided = decide_channels(cases, names)
    torn = contradicted(decided, cases)
    if torn:
        raise DatasetError(
            f"case {torn[0][0]}",
            found=f"series {_told_all(torn[0][1])}, which would be other channels in other cases",
            expected=f"descriptions that mean the same of {', '.join(names)} in all cases",
            fix="correct SeriesDescription so that it names the channel",
        )
    if all(found is None for found in decided):
        _require_one_order(cases)
    elif len(names) > 1 and None in decided:
        case, series = cases[decided.index(None)]
        raise DatasetError(
            f"case {case}",
            found=f"series {_told_all(series)}, whose descriptions do not say which channel they are",
            expected=f"descriptions that name the channels {', '.join(names)}, as in other cases",
            fix="correct SeriesDescription, or move the series into a dataset of their own",
        )
    ordered: list[tuple[Series, ...]] = []
    for (case, series), found in zip(cases, decided, strict=True):
        if found is None and any(decided):
            LOG.warning("case %s: the series is taken for channel %s by its place alone", case, names[0])
        ordered.append(found or series)
        log_channels(case, ordered[-1], names)
    return ordered


def decide_channels(cases: Sequence[Case], names: Sequence[str]) -> list[tuple[Series, ...] | None]:
    """The series of every case in the order of the channel `names`; None where descriptions leave it open.

    SeriesDescription (or the modality) that equals a channel's name, or has it as a word, decides. Where that
    holds for some series only, each that fits one channel alone is that channel, and a single one that
    remains is the channel that remains.
    """
    return [_matched(series, names) or _narrowed(series, names) for _, series in cases]


def contradicted(decided: Sequence[tuple[Series, ...] | None], cases: Sequence[Case]) -> list[Case]:
    """The cases with a series that is described as another channel is in another case."""
    meant: dict[tuple[str, str], set[int]] = {}
    for series in decided:
        for channel, one in enumerate(series or ()):
            meant.setdefault(_described(one), set()).add(channel)
    several = {description for description, channels in meant.items() if len(channels) > 1}
    return [
        case
        for case, series in zip(cases, decided, strict=True)
        if series and not several.isdisjoint(map(_described, series))
    ]


def log_channels(case: str, series: Sequence[Series], names: Sequence[str]) -> None:
    """Say which series is which channel."""
    for name, one in zip(names, series, strict=True):
        LOG.info("%s: %s <- series %s", case, name, told(one))


def _matched(series: tuple[Series, ...], names: Sequence[str]) -> tuple[Series, ...] | None:
    """The one order in which every series fits its channel's name; None where there is none, or several."""
    if len(series) != len(names) or len(series) > MOST_SERIES:
        return None
    scores = {
        order: sum(fits)
        for order in permutations(range(len(series)))
        if NONE not in (fits := [_fit(series[index], name) for index, name in zip(order, names, strict=True)])
    }
    best = [order for order, score in scores.items() if score == max(scores.values())]
    return tuple(series[index] for index in best[0]) if len(best) == 1 else None


def _narrowed(series: tuple[Series, ...], names: Sequence[str]) -> tuple[Series, ...] | None:
    """The order that clear matches (one series, one channel) and the single one that remains make."""
    if len(series) != len(names):
        return None
    clear: dict[int, int] = {}  # channel -> series
    for channel, name in enumerate(names):
        fitting = [index for index, one in enumerate(series) if _fit(one, name) != NONE]
        if len(fitting) == 1 and _means_only(series[fitting[0]], name, names):
            clear[channel] = fitting[0]
    open_channels = [channel for channel in range(len(names)) if channel not in clear]
    open_series = [index for index in range(len(series)) if index not in clear.values()]
    if len(names) > 1 and len(open_channels) == 1:
        clear[open_channels[0]] = open_series[0]
    return (
        tuple(series[clear[channel]] for channel in range(len(names))) if len(clear) == len(names) else None
    )


def _means_only(series: Series, name: str, names: Sequence[str]) -> bool:
    """Whether a series fits this channel alone: "T1 gd" could well be the channel T1gd beside T1."""
    others = [other for other in names if other != name]
    longer = any(other.casefold().startswith(name.casefold()) for other in others)
    return not longer and all(_fit(series, other) == NONE for other in others)


def _fit(series: Series, name: str) -> int:
    wanted = name.casefold().strip()
    own = {series.description.casefold().strip(), series.modality.casefold(), _modality(series)}
    if wanted in own:
        return EXACT
    words = re.split(r"[^0-9a-z+*]+", series.description.casefold())
    return WORD if wanted in words else NONE


def _modality(series: Series) -> str:
    return MODALITY_NAMES.get(series.modality, series.modality).casefold()


def _require_one_order(cases: Sequence[Case]) -> None:
    """Refuse a case with a series that stands at another place than in an earlier case, and name those whose
    series are described otherwise than the first case's."""
    earlier: dict[tuple[str, str], tuple[int, Case]] = {}
    for case, series in cases:
        for place, said in ((place, said) for place, one in enumerate(series) for said in _said(one, series)):
            known, other = earlier.setdefault(said, (place, (case, series)))
            if known != place:
                raise DatasetError(
                    f"case {case}",
                    found=f"its series in the order {_told_all(series)}",
                    expected=f"the order of case {other[0]}: {_told_all(other[1])}",
                    fix="name the channels as the series describe themselves: --channels NAME NAME …",
                )
    first = sorted(map(_described, cases[0][1]))
    others = [case for case, series in cases if sorted(map(_described, series)) != first]
    if len(cases[0][1]) > 1 and others:
        LOG.warning(
            "series numbers alone say which channel is which in cases whose series are described otherwise "
            "than those of %s (%s): %s",
            cases[0][0],
            _told_all(cases[0][1]),
            listed(others),
        )


def _said(one: Series, series: Sequence[Series]) -> Iterator[tuple[str, str]]:
    """What tells a series from the others of its case: its description, and its modality; nothing that two
    of them share."""
    if one.description and [_described(other) for other in series].count(_described(one)) == 1:
        yield _described(one)
    if [other.modality for other in series].count(one.modality) == 1:
        yield one.modality, ""


def _described(series: Series) -> tuple[str, str]:
    return series.modality, series.description.casefold().strip()


def told(series: Series) -> str:
    """A series by its number and description, for messages."""
    return f"{series.number} '{series.description or series.modality}'"


def _told_all(series: Sequence[Series]) -> str:
    return ", ".join(map(told, series))
