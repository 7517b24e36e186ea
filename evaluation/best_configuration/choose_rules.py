"""Choosing postprocessing on cross-validation by nested folds: a rule stays only where each fold, choosing
without its own cases, is no worse off with it.

Source: nnU-Net v2, `determine_postprocessing` (largest component of the foreground, then of each label);
minimum sizes, tests and nested folds are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.inference.postprocessing import Postprocessing, PostprocessingStep, SizeUnit
from evaluation.best_configuration.dice import mean_dice
from evaluation.best_configuration.gains import Gain, Groups, gain
from evaluation.best_configuration.noise import NOISE_P
from evaluation.best_configuration.one_piece import in_one_piece
from evaluation.best_configuration.rule_scores import Pairs, Rules, RuleScores, ScoreBoard
from evaluation.statistics import holm

SIZE_FRACTIONS = (
    0.01,
    0.05,
    0.1,
    0.25,
)  # of the median size of a label in the references, as candidates for its minimum size
NESTED_FOLDS = 5  # where the predictions are of a single fold
UNITS = {
    "mm3": "mm³",
    "mm2": "mm²",
    "pixels": "pixels",
    "share": "of the picture",
    None: "(mm³, mm² or pixels)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One kind of rule for one label (or all of them), with the choices of its one parameter; `expected` says
    that references show what it keeps, and nothing else."""

    title: str
    label: int | None
    choices: Rules
    expected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    """What became of a kind of rule."""

    kind: _Kind
    step: PostprocessingStep
    gain: Gain
    p_value: float
    words: str


def choose_postprocessing(
    pairs: Pairs,
    labels: LabelScheme,
    workers: int,
    folds: Mapping[str, int] | None = None,
    references: Sequence[Path] = (),
    by_index: bool = False,
) -> Postprocessing:
    """Try rules one after the other on pooled cross-validation predictions.

    The largest component of all foreground; for each label (where there are several) its largest component;
    for each label a minimum size. A kind of rule is taken up where, with its parameter chosen on the other
    folds, Dice rises beyond noise, HD95 does not rise, no label loses, and no fold gets worse by more than
    0.002 Dice or 2 % HD95. Where every reference shows a label in one piece, its largest component may be
    kept on less evidence: the gain in Dice may be within noise. All of this is then repeated without each
    fold in turn: kinds that most of these would not have taken up are dropped, and if the cases left out do
    not gain, all are.

    Args:
        pairs: case -> (prediction, reference).
        references: label maps of all training cases; those of the pairs where there are none.
        folds: case -> its fold; None, or a single fold, makes blocks of cases in the order of their names.
        by_index: as that of a `Pair`.

    Raises:
        DatasetError, EvaluationError: a file cannot be read, or a pair does not fit.
    """
    board = ScoreBoard(pairs=pairs, labels=labels, workers=workers, by_index=by_index)
    before = board.score([()])[()]
    reasons = [f"without postprocessing: {_means(before, board.distance_unit)}"]
    groups = _groups(board.cases, folds)
    everyone = np.arange(len(groups))
    of_pairs = [reference for _, reference in pairs.values()]
    whole = in_one_piece(references or of_pairs, labels, workers)
    verdicts = _verdicts(board, everyone, groups, whole)
    reasons += [_reason(verdict, board) for verdict in verdicts]
    chosen = _chosen(verdicts)
    if not chosen:
        return Postprocessing(reasons=tuple(reasons))
    nested = {
        int(group): _chosen(_verdicts(board, everyone[groups != group], groups, whole))
        for group in np.unique(groups)
    }
    steps, told = _confirmed(board, chosen, nested, groups)
    return Postprocessing(steps=steps, reasons=(*reasons, *told))


def _verdicts(
    board: ScoreBoard, cases: npt.NDArray[np.intp], groups: Groups, whole: frozenset[tuple[str, ...]]
) -> list[_Verdict]:
    """Judge all kinds of rules, stage by stage, on some of the cases."""
    verdicts: list[_Verdict] = []
    for kinds in _stages(board, whole):
        base = tuple(verdict.step for verdict in verdicts if verdict.words == "kept")
        wanted = [base, *((*base, step) for kind in kinds for step in kind.choices)]
        scores = {rules: found.of(cases) for rules, found in board.score(wanted).items()}
        judged = [(kind, *_judge(kind, base, scores, groups[cases], board.labels.names)) for kind in kinds]
        corrected = [
            1.0 if p_value is None else p_value for p_value in holm([found.p_value for *_, found in judged])
        ]
        verdicts += [
            _Verdict(
                kind=kind,
                step=step,
                gain=found,
                p_value=p_value,
                words=found.verdict(0.0 if kind.expected else p_value),
            )
            for (kind, step, found), p_value in zip(judged, corrected, strict=True)
        ]
    return verdicts


def _stages(board: ScoreBoard, whole: frozenset[tuple[str, ...]]) -> list[list[_Kind]]:
    """Kinds of rules that are tried together, in the order of the stages."""
    names = board.labels.names
    foreground = PostprocessingStep(kind="largest_component", names=names)
    stages = [
        [
            _Kind(
                title="largest component of all foreground",
                label=None,
                choices=(foreground,),
                expected=names in whole,
            )
        ]
    ]
    if len(names) > 1:
        stages.append(
            [
                _Kind(
                    title=f"largest component of {name}",
                    label=number,
                    choices=(PostprocessingStep(kind="largest_component", names=(name,)),),
                    expected=(name,) in whole,
                )
                for number, name in enumerate(names)
            ]
        )
    sizes = [_median(board.reference_sizes_cl[:, number]) for number in range(len(names))]
    stages.append(
        [
            _Kind(title="minimum size", label=number, choices=_minimum_sizes(name, sizes[number], board))
            for number, name in enumerate(names)
            if sizes[number] > 0
        ]
    )
    return stages


def _minimum_sizes(name: str, median: float, board: ScoreBoard) -> Rules:
    sizes = [fraction * median for fraction in SIZE_FRACTIONS]
    rounded = [_rounded(size, board.size_unit) for size in sizes]
    return tuple(
        PostprocessingStep(kind="minimum_size", names=(name,), minimum_size=size, unit=board.size_unit)
        for size in dict.fromkeys(rounded)
    )


def _rounded(size: float, unit: SizeUnit) -> float:
    if unit == "pixels":
        return float(max(2, round(size)))
    return float(f"{size:.3g}") if unit == "share" else round(size, 3)


def _judge(
    kind: _Kind, base: Rules, scores: Mapping[Rules, RuleScores], groups: Groups, names: Sequence[str]
) -> tuple[PostprocessingStep, Gain]:
    """The best choice on all these cases; what its kind gains where each fold's is chosen on the others."""
    dice = np.array([scores[(*base, step)].dice_cl for step in kind.choices])
    hd95 = np.array([scores[(*base, step)].hd95_cl for step in kind.choices])
    held_out = RuleScores(dice_cl=np.empty_like(dice[0]), hd95_cl=np.empty_like(hd95[0]))
    for group in np.unique(groups):
        inside = groups == group
        best = _best(kind, dice[:, ~inside])
        held_out.dice_cl[inside], held_out.hd95_cl[inside] = dice[best][inside], hd95[best][inside]
    step = kind.choices[_best(kind, dice)]
    return step, gain(scores[base], held_out, groups, names, kind.label)


def _best(kind: _Kind, dice_rcl: npt.NDArray[np.float64]) -> int:
    """The choice with the highest Dice of its label; of equal ones the first, which changes least."""
    columns = slice(None) if kind.label is None else slice(kind.label, kind.label + 1)
    painted = ~np.isnan(dice_rcl).all(axis=0)
    filled = np.where(np.isnan(dice_rcl) & painted, 1.0, dice_rcl)
    return int(np.argmax([mean_dice(dice_cl[:, columns])[0] for dice_cl in filled]))


def _chosen(verdicts: Sequence[_Verdict]) -> Rules:
    return tuple(verdict.step for verdict in verdicts if verdict.words == "kept")


def _confirmed(
    board: ScoreBoard, chosen: Rules, nested: Mapping[int, Rules], groups: Groups
) -> tuple[Rules, list[str]]:
    """The rules that hold where each fold chooses without its own cases, and in words what did not."""
    reasons = []
    kinds = [{(step.kind, step.names) for step in rules} for rules in nested.values()]
    steps: Rules = ()
    for step in chosen:
        votes = sum((step.kind, step.names) in found for found in kinds)
        if 2 * votes > len(kinds):
            steps = (*steps, step)
        else:
            reasons.append(
                f"{step.kind.replace('_', ' ')} of {', '.join(step.names)}: dropped, because only {votes} of "
                f"{len(kinds)} folds would choose it without their own cases"
            )
    kept = {(step.kind, step.names) for step in steps}
    own = {
        group: tuple(step for step in rules if (step.kind, step.names) in kept)
        for group, rules in nested.items()
    }
    scores = board.score([(), *own.values()])
    held_out = RuleScores(dice_cl=scores[()].dice_cl.copy(), hd95_cl=scores[()].hd95_cl.copy())
    for group, rules in own.items():
        inside = groups == group
        held_out.dice_cl[inside] = scores[rules].dice_cl[inside]
        held_out.hd95_cl[inside] = scores[rules].hd95_cl[inside]
    found = gain(scores[()], held_out, groups, board.labels.names)
    if steps and (found.harm or not found.dice[1] > found.dice[0]):
        why = found.harm or "no gain"
        told = found.text(board.distance_unit)
        reasons.append(f"all dropped: with rules chosen on the other folds, {told}: {why}")
        steps = ()
    elif steps:
        reasons.append(f"on cases that had no say in the choice: {found.text(board.distance_unit)}")
    return steps, reasons


def _groups(cases: Sequence[str], folds: Mapping[str, int] | None) -> Groups:
    """The fold of each case; blocks of neighbouring names where there is one fold alone."""
    if folds is not None and len(set(folds.values())) > 1:
        return np.array([folds[case] for case in cases], dtype=np.intp)
    return np.arange(len(cases), dtype=np.intp) * NESTED_FOLDS // max(len(cases), NESTED_FOLDS)


def _means(scores: RuleScores, unit: str) -> str:
    dice, hd95 = mean_dice(scores.dice_cl)[0], mean_dice(scores.hd95_cl)[0]
    return f"mean foreground Dice {dice:.4f}, HD95 {hd95:.2f} {unit}"


def _reason(verdict: _Verdict, board: ScoreBoard) -> str:
    step = verdict.step
    title = verdict.kind.title
    if step.kind == "minimum_size":
        title += f" {step.minimum_size:g} {UNITS[step.unit]} of {step.names[0]}"
    reason = f"{title}: {verdict.gain.text(board.distance_unit)}, {verdict.words}"
    if verdict.words == "kept" and verdict.p_value >= NOISE_P:
        reason += f" (p = {verdict.p_value:.2g}, but every reference shows it in one piece)"
    return reason


def _median(sizes: npt.NDArray[np.float64]) -> float:
    there = sizes[sizes > 0]
    return float(np.median(there)) if len(there) else 0.0
