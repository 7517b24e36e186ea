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
from evaluation.statistics import bootstrap_means, paired_test

NOISE_P = 0.05
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
    scores, tied = [], []
    for item in order:
        p_value = (
            None
            if item == top
            else paired_test(_per_case(tables_cl[top]), _per_case(tables_cl[item]), True).p_value
        )
        is_tied = item == top or p_value is None or p_value >= NOISE_P
        if is_tied:
            tied.append(item)
        scores.append(_score(item, tables_cl[item], p_value, is_tied))
    cheapest = min(tied, key=lambda item: (item.cost, len(item.configurations)))
    chosen = cheapest if prefer == "speed" else top
    return tuple(scores), chosen, _reason(chosen, top, cheapest, scores)


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


def _reason(chosen: Candidate, top: Candidate, cheapest: Candidate, scores: list[CandidateScore]) -> str:
    by_name = {score.configurations: score for score in scores}
    best, mine = by_name[top.configurations], by_name[chosen.configurations]
    if chosen == top != cheapest:
        return (
            f"{top.name} has the highest mean foreground Dice ({best.dice:.4f}), and accuracy is preferred; "
            f"{cheapest.name} ({by_name[cheapest.configurations].dice:.4f}) is within noise of it and costs "
            f"{by_name[cheapest.configurations].cost / best.cost:.0%} as much"
        )
    if chosen == top:
        return f"{chosen.name} has the highest mean foreground Dice ({best.dice:.4f})" + (
            ", and no cheaper one is within noise of it" if len(scores) > 1 else "; it is the only candidate"
        )
    p_text = (
        "too few cases to tell them apart"
        if mine.p_value is None
        else f"paired Wilcoxon test, p = {mine.p_value:.3g}"
    )
    return (
        f"{top.name} has the highest mean foreground Dice ({best.dice:.4f}), but {chosen.name} "
        f"({mine.dice:.4f}) is within noise of it "
        f"({p_text}) and costs {mine.cost / best.cost:.0%} as much, so {chosen.name} is taken"
    )


def _per_case(table_cl: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean over labels of each case; NaN where it has none."""
    there = ~np.isnan(table_cl)
    counts = there.sum(axis=1)
    return np.where(counts > 0, np.where(there, table_cl, 0).sum(axis=1) / np.maximum(counts, 1), np.nan)
