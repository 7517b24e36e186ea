"""Choosing postprocessing on cross-validation: a rule stays only if it raises Dice there.

Source: nnU-Net v2, `determine_postprocessing` (largest component of the foreground, then of each label);
minimum sizes are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.inference.postprocessing import Postprocessing, PostprocessingStep
from evaluation.best_configuration.dice import Rules, mean_dice, on_one_case_set, score_rules

SIZE_FRACTIONS = (
    0.01,
    0.05,
    0.1,
    0.25,
)  # of the median size of a label in the references, as candidates for its minimum size


def choose_postprocessing(
    pairs: Mapping[str, tuple[Path, Path]], labels: LabelScheme, workers: int
) -> Postprocessing:
    """Try the rules one after the other on pooled cross-validation predictions.

    1. The largest component of all foreground: kept if the mean Dice rises and no label's Dice falls.
    2. For each label (where there are several), its largest component: kept if that label's Dice rises.
    3. For each label, the minimum size that raises its Dice most, if any does.

    Args:
        pairs: case -> (prediction, reference).
    """
    foreground = PostprocessingStep(kind="largest_component", names=labels.names)
    scored = score_rules(pairs, labels, [(), (foreground,)], workers)
    (before, labels_before), (after, labels_after) = map(mean_dice, on_one_case_set(scored.dice_rcl))
    chosen: Rules = ()
    reasons = [f"mean foreground Dice without postprocessing: {before:.4f}"]
    falls = bool(np.any(labels_after < labels_before))
    if after > before and not falls:
        chosen = (foreground,)
    verdict = (
        "kept" if chosen else "not kept: a label's Dice falls" if after > before else "not kept: no gain"
    )
    reasons.append(f"largest component of all foreground: {before:.4f} -> {after:.4f}, {verdict}")
    if len(labels.names) > 1:
        largest = {
            name: (PostprocessingStep(kind="largest_component", names=(name,)),) for name in labels.names
        }
        chosen = _add_where_better(chosen, largest, pairs, labels, workers, reasons)
    median_mm3 = {name: _median(scored.reference_mm3_cl[:, index]) for index, name in enumerate(labels.names)}
    sizes = {
        name: tuple(
            PostprocessingStep(
                kind="minimum_size", names=(name,), minimum_mm3=round(fraction * median_mm3[name], 3)
            )
            for fraction in SIZE_FRACTIONS
        )
        for name in labels.names
        if median_mm3[name] > 0
    }
    chosen = _add_where_better(chosen, sizes, pairs, labels, workers, reasons)
    return Postprocessing(steps=chosen, reasons=tuple(reasons))


def _add_where_better(
    chosen: Rules,
    choices: Mapping[str, Rules],
    pairs: Mapping[str, tuple[Path, Path]],
    labels: LabelScheme,
    workers: int,
    reasons: list[str],
) -> Rules:
    """Add for each label the choice that raises its Dice most, if any raises it; reasons are noted in
    `reasons`."""
    tried = [(name, step) for name, steps in choices.items() for step in steps]
    scored = score_rules(pairs, labels, [chosen, *((*chosen, step) for _, step in tried)], workers)
    dice_rcl = on_one_case_set(scored.dice_rcl)
    _, base = mean_dice(dice_rcl[0])
    gains = {
        (name, step): mean_dice(dice_cl)[1] for (name, step), dice_cl in zip(tried, dice_rcl[1:], strict=True)
    }
    for name in choices:
        index = labels.names.index(name)
        step, value = max(
            ((step, float(gains[name, step][index])) for step in choices[name]),
            key=lambda item: (item[1], item[0].minimum_mm3),
        )
        better = value > base[index]
        what = (
            "largest component" if step.kind == "largest_component" else f"minimum size {step.minimum_mm3:g}"
        )
        reasons.append(
            f"{what} of {name}: its Dice {base[index]:.4f} -> {value:.4f}, {'kept' if better else 'not kept'}"
        )
        if better:
            chosen = (*chosen, step)
    return chosen


def _median(sizes_mm3: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    there = sizes_mm3[sizes_mm3 > 0]
    return float(np.median(there)) if len(there) else 0.0
