"""Ranking candidates by mean foreground Dice; where the difference is within noise, what the user prefers
decides: the cheaper one, or the better one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.inference.best_configuration import CandidateScore
from evaluation.best_configuration.candidates import Candidate
from evaluation.best_configuration.dice import mean_dice, on_one_case_set
from evaluation.best_configuration.noise import compare
from evaluation.statistics import bootstrap_means

Preference = Literal["accuracy", "speed"]


def rank(
    tables_cl: Mapping[Candidate, npt.NDArray[np.float64]],
    prefer: Preference = "speed",
) -> tuple[tuple[CandidateScore, ...], Candidate, str]:
    """Rank candidates that were scored on the same cases; means, intervals and tests rest on one set of them.

    Args:
        tables_cl: candidate -> Dice (cases, labels), NaN where a case has none.
        prefer: "speed" takes the cheapest of those that are within noise of the best, "accuracy" the best.

    Returns:
        Scores, best first; the candidate to use; and why, in plain words.
    """
    filled = on_one_case_set(np.stack(list(tables_cl.values())))
    tables_cl = dict(zip(tables_cl, filled, strict=True))
    order = sorted(tables_cl, key=lambda item: (-mean_dice(tables_cl[item])[0], item.cost))
    top = order[0]
    scores, ties = [], {top: ""}  # candidate -> why it is within noise of the best
    for item in order:
        p_value, why = (None, "") if item == top else compare(tables_cl[top], tables_cl[item])
        if why is not None:
            ties[item] = why
        scores.append(_score(item, tables_cl[item], p_value, why is not None))
    cheapest = min(ties, key=lambda item: (item.cost, len(item.configurations)))
    chosen = cheapest if prefer == "speed" else top
    return tuple(scores), chosen, _reason(chosen, top, cheapest, scores, ties[cheapest])


def _score(
    item: Candidate, table_cl: npt.NDArray[np.float64], p_value: float | None, tied: bool
) -> CandidateScore:
    dice, _ = mean_dice(table_cl)
    low, high = bootstrap_means(table_cl)[1] or (dice, dice)
    return CandidateScore(
        configurations=item.configurations,
        dice=round(dice, 6),
        dice_low=round(low, 6),
        dice_high=round(high, 6),
        cost=item.cost,
        p_value=None if p_value is None else float(p_value),
        tied_with_best=tied,
    )


def _reason(
    chosen: Candidate, top: Candidate, cheapest: Candidate, scores: list[CandidateScore], why: str
) -> str:
    """Why a candidate is taken; `why` says what makes the cheapest tie with the best."""
    by_name = {score.configurations: score for score in scores}
    best, cheap = by_name[top.configurations], by_name[cheapest.configurations]
    highest = f"{top.name} has the highest mean foreground Dice ({best.dice:.4f})"
    tie = (
        f"{cheapest.name} ({cheap.dice:.4f}) is within noise of it ({why}) and costs "
        f"{cheap.cost / best.cost:.0%} as much"
    )
    if chosen != top:
        return f"{highest}, but {tie}, so {chosen.name} is taken"
    if chosen != cheapest:
        return f"{highest}, and accuracy is preferred; {tie}"
    return highest + (
        ", and no cheaper one is within noise of it" if len(scores) > 1 else "; it is the only candidate"
    )
