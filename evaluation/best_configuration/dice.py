"""Means of Dice over cases and labels, and one set of cases for several predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def mean_dice(dice_cl: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
    """Mean over labels, and each label's mean over cases; cases without a value are left out, as nnU-Net
    does."""
    there = ~np.isnan(dice_cl)
    counts = there.sum(axis=0)
    per_label = np.where(counts > 0, np.where(there, dice_cl, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    usable = counts > 0
    return (float(per_label[usable].mean()) if usable.any() else 0.0), per_label


def on_one_case_set(dice_rcl: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Dice of several predictions of the same cases, with the same cases counted for each.

    Args:
        dice_rcl: (predictions, cases, labels); NaN where prediction and reference are both empty.

    Returns:
        The same, with 1 where a prediction is rightly empty and another one painted something; NaN where all
        are empty.
    """
    painted = ~np.isnan(dice_rcl).all(axis=0)
    return np.where(np.isnan(dice_rcl) & painted, 1.0, dice_rcl)
