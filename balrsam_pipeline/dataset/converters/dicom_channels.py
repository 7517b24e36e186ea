"""Which DICOM series of a case is which channel: by what they say of themselves, else by their order."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from itertools import permutations

from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio.dicom import Series

LOG = logging.getLogger(__name__)
MOST_SERIES = 6  # of a case that are put in every order
EXACT, WORD, NONE = 2, 1, 0
MODALITY_NAMES = {"PT": "pet", "MR": "mri", "NM": "spect"}


Case = tuple[str, tuple[Series, ...]]  # its name and its series


def order_series(cases: Sequence[Case], names: Sequence[str]) -> list[tuple[Series, ...]]:
    """The series of every case in the order of the channel `names`.

    SeriesDescription (or the modality) that equals a channel's name, or has it as a word, decides. Where no
    case says anything, the order of series numbers counts, as long as it is the same in all cases.

    Raises:
        DatasetError: the descriptions of a case fit in several ways or only in part, where those of other
            cases fit; or the order of series differs between cases and nothing says which channel they are.
    """
    matched = [_matched(series, names) for _, series in cases]
    if all(found is None for found in matched):
        _require_one_order(cases)
        return [series for _, series in cases]
    ordered: list[tuple[Series, ...]] = []
    for (case, series), found in zip(cases, matched, strict=True):
        if found is None:
            told = ", ".join(_told(one) for one in series)
            if len(names) > 1:
                raise DatasetError(
                    f"case {case}",
                    found=f"series {told}, whose descriptions do not say which channel they are",
                    expected=f"descriptions that name the channels {', '.join(names)}, as in other cases",
                    fix="correct SeriesDescription, or move the series into a dataset of their own",
                )
            LOG.warning("case %s: series %s is taken for channel %s by its place alone", case, told, names[0])
        elif found != series:
            LOG.warning(
                "case %s: channels are put in the order %s by their description", case, ", ".join(names)
            )
        ordered.append(found or series)
    return ordered


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
    """Refuse cases whose series are those of the first case in another order."""
    signatures = [tuple((one.modality, one.description.casefold()) for one in series) for _, series in cases]
    for (case, series), own in zip(cases, signatures, strict=True):
        if own != signatures[0] and sorted(own) == sorted(signatures[0]):
            raise DatasetError(
                f"case {case}",
                found=f"its series in the order {', '.join(map(_told, series))}",
                expected=f"the order of the first case: {', '.join(map(_told, cases[0][1]))}",
                fix="name the channels as the series describe themselves: --channels NAME NAME …",
            )


def _told(series: Series) -> str:
    return f"{series.number} '{series.description or series.modality}'"
