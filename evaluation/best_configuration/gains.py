"""Whether a postprocessing rule helps: Dice beyond noise, no loss in HD95, no fold that gets worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.best_configuration.dice import mean_dice
from evaluation.best_configuration.noise import NOISE_P
from evaluation.best_configuration.rule_scores import RuleScores, Table
from evaluation.comparison import case_values

WORST_DICE = 0.002  # a fold may lose this much Dice, and this share of HD95, before a rule counts as harmful
WORST_HD95 = 0.02
RELEVANT_DICE = 0.001  # smaller gains in Dice are not worth a rule, unless HD95 falls by WORST_HD95
EXACT_UP_TO = 100  # cases

Groups = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A rule against none, on the same cases.

    Attributes:
        dice, hd95: means without and with the rule.
        p_value: of the one-sided Wilcoxon signed-rank test that Dice rises; 1 where nothing changes.
        harm: what gets worse; "" where nothing does.
    """

    dice: tuple[float, float]
    hd95: tuple[float, float]
    p_value: float
    harm: str

    def verdict(self, p_value: float) -> str:
        """ "kept", or why not, with a p value that may be corrected for many tests."""
        if objection := self._useless() or self.harm:
            return f"not kept: {objection}"
        return "kept" if p_value < NOISE_P else f"not kept: within noise (p = {p_value:.2g})"

    def _useless(self) -> str:
        if not self.dice[1] > self.dice[0]:
            return "no gain"
        small = (
            self.dice[1] - self.dice[0] < RELEVANT_DICE and self.hd95[1] >= (1 - WORST_HD95) * self.hd95[0]
        )
        return "the gain is too small to matter" if small else ""

    def text(self, unit: str) -> str:
        """The means in words."""
        (dice, new_dice), (hd95, new_hd95) = self.dice, self.hd95
        return f"Dice {dice:.4f} -> {new_dice:.4f}, HD95 {hd95:.2f} -> {new_hd95:.2f} {unit}"


def gain(
    before: RuleScores, after: RuleScores, groups: Groups, names: Sequence[str], label: int | None = None
) -> Gain:
    """Compare the scores of the same cases without and with a rule.

    Args:
        groups: (cases,), the fold of each case.
        names: of the labels.
        label: the label that the rule is for; None for one that cleans all of them.
    """
    dice = _paired(before.dice_cl, after.dice_cl, 1.0)
    hd95 = _paired(before.hd95_cl, after.hd95_cl, 0.0)
    columns = list(range(len(names))) if label is None else [label]
    my_dice, my_hd95 = ((one[:, columns], other[:, columns]) for one, other in (dice, hd95))
    means = [(_mean(one), _mean(other)) for one, other in (my_dice, my_hd95)]
    return Gain(
        dice=means[0],
        hd95=means[1],
        p_value=rank_test(case_values(my_dice[1]) - case_values(my_dice[0])),
        harm=_label_loses(dice, hd95, names) or _fold_loses(my_dice, my_hd95, groups),
    )


def _paired(before_cl: Table, after_cl: Table, perfect: float) -> tuple[Table, Table]:
    """Both on one set of cases: a rightly empty mask is perfect where the other painted something."""
    painted = ~(np.isnan(before_cl) & np.isnan(after_cl))
    before, after = (np.where(np.isnan(table) & painted, perfect, table) for table in (before_cl, after_cl))
    return before, after


def _label_loses(dice: tuple[Table, Table], hd95: tuple[Table, Table], names: Sequence[str]) -> str:
    for number, name in enumerate(names):
        if _mean(dice[1][:, [number]]) < _mean(dice[0][:, [number]]):
            return f"Dice of {name} falls"
        if _mean(hd95[1][:, [number]]) > _mean(hd95[0][:, [number]]):
            return f"HD95 of {name} rises"
    return ""


def _fold_loses(dice: tuple[Table, Table], hd95: tuple[Table, Table], groups: Groups) -> str:
    for group in np.unique(groups):
        of_it = groups == group
        if _mean(dice[1][of_it]) < _mean(dice[0][of_it]) - WORST_DICE:
            return f"Dice falls in fold {group}"
        if _mean(hd95[1][of_it]) > _mean(hd95[0][of_it]) * (1 + WORST_HD95):
            return f"HD95 rises in fold {group}"
    return ""


def rank_test(differences: npt.NDArray[np.float64]) -> float:
    """P value of the one-sided Wilcoxon signed-rank test that differences are above 0.

    Exact up to a hundred cases, ties among the ranks included; cases without a value, or without a
    difference, have no say.

    >>> rank_test(np.array([0.1, 0.2, 0.3, np.nan, 0.0]))
    0.125
    """
    from scipy.stats import rankdata, wilcoxon  # here, because it takes half a second to import

    untied = np.round(differences[~np.isnan(differences)], 12)
    untied = untied[untied != 0]
    if not len(untied):
        return 1.0
    if len(untied) > EXACT_UP_TO:
        return float(wilcoxon(untied, alternative="greater").pvalue)
    doubled = np.round(2 * rankdata(np.abs(untied))).astype(int)  # ranks of ties are halves
    ways = np.ones(1)  # ways[s]: in how many of the sign patterns do the positive ranks add up to s
    for rank in doubled:
        ways = np.concatenate([ways, np.zeros(rank)]) + np.concatenate([np.zeros(rank), ways])
    reached = int(doubled[untied > 0].sum())
    return float(ways[reached:].sum() / ways.sum())


def _mean(table_cl: Table) -> float:
    """Mean over labels of their means over cases, as everywhere; 0 where nothing has a value."""
    return mean_dice(table_cl)[0]
