"""Whether two candidates are within noise of each other, and why; the constants of such judgements."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.best_configuration.dice import mean_dice
from evaluation.comparison import case_values
from evaluation.statistics import bootstrap_means, paired_test

NOISE_P = 0.05
SMALL_DICE = 0.005  # a difference in mean Dice that seldom survives another seed of the same training
# below, neither says much: the two-sided Wilcoxon p of five cases is 0.0625 or more, however clear they are
FEWEST_TESTED = 6


def compare(
    best_cl: npt.NDArray[np.float64], other_cl: npt.NDArray[np.float64]
) -> tuple[float | None, str | None]:
    """Compare a candidate with the best on one set of cases.

    They tie where no paired Wilcoxon test says that the best is better, and the mean difference is small or
    its bootstrap interval includes 0: the test counts how many cases get worse, so that a few that fail badly
    show in the interval alone. With few cases only a small difference is a tie. Where the test favours the
    other one, whose mean a few failures lowered, it is no proof against it.

    Args:
        best_cl, other_cl: Dice (cases, labels), NaN in the same places, where a case has none.

    Returns:
        The p value (None without cases); and why they tie, in plain words, or None where they do not.
    """
    test = paired_test(case_values(best_cl), case_values(other_cl), True)
    p_value = test.p_value
    if p_value is None or test.effect is None:
        return None, "no case tells them apart"
    if p_value < NOISE_P and test.effect > 0:
        return p_value, None
    cases = int((~np.isnan(best_cl)).any(axis=1).sum())
    tested = f"paired Wilcoxon test, p = {p_value:.3g}"
    if p_value < NOISE_P:
        tested = f"better in most cases by a {tested}"
    if round(mean_dice(best_cl)[0] - mean_dice(other_cl)[0], 12) <= SMALL_DICE:
        few = f"too few cases to test, {cases}" if cases < FEWEST_TESTED else tested
        return p_value, f"{few}; a difference of at most {SMALL_DICE:g} is small"
    interval = bootstrap_means(best_cl - other_cl)[1] if cases >= FEWEST_TESTED else None
    if interval is None or not interval[0] <= 0 <= interval[1]:
        return p_value, None
    low, high = interval
    return p_value, f"{tested}; the 95 % interval of the difference, {low:.4f} to {high:.4f}, includes 0"
