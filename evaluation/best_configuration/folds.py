"""Which configurations and folds of a dataset have validation predictions, and of which cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from balrsam_pipeline.dataset.splits import folds_apart, in_which_folds, validated_twice
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.layout import ModelFolder, ResultsFolder
from balrsam_pipeline.printable import plural
from evaluation.reports.summary_json import read_summary


def trained_configurations(results: Path) -> tuple[str, ...]:
    """Names of the models with a finished fold under `results/DATASET`, of all plans.

    Raises:
        EvaluationError: there is none.
    """
    names = tuple(
        sorted(model.name for model in ResultsFolder(results).models() if finished_folds(model.path))
    )
    if not names:
        raise EvaluationError(
            results,
            found="no configuration with a validated fold",
            expected="at least one trained configuration",
            fix=f"train one: balrsam crossval {results.name}",
        )
    return names


def finished_folds(folder: Path) -> tuple[int, ...]:
    """Folds of a model folder whose validation is scored."""
    model = ModelFolder(folder)
    return tuple(fold for fold in model.folds() if model.fold(fold).validation.summary.is_file())


def common_folds(folders: Mapping[str, Path], wanted: Sequence[int] | None) -> tuple[int, ...]:
    """Folds that every configuration has finished, or the `wanted` ones if they all are.

    Raises:
        EvaluationError: no fold in common, or a wanted one is not finished.
    """
    finished = {name: set(finished_folds(folder)) for name, folder in folders.items()}
    common = set.intersection(*finished.values())
    if wanted is not None and set(wanted) <= common:
        return tuple(sorted(wanted))
    if wanted is None and common:
        return tuple(sorted(common))
    raise EvaluationError(
        next(iter(folders.values())).parent,
        found="; ".join(f"{name}: folds {sorted(folds) or 'none'}" for name, folds in finished.items()),
        expected=f"folds {sorted(wanted)} of each, validated"
        if wanted is not None
        else "a validated fold in common",
        fix="finish them with 'balrsam crossval DATASET --configuration NAME', or leave a configuration out "
        "(--configurations)",
    )


def folds_of(folders: Mapping[str, Path], members: Sequence[str]) -> tuple[int, ...]:
    """The folds that all members of a candidate have finished, compared or not."""
    return tuple(sorted(set.intersection(*(set(finished_folds(folders[name])) for name in members))))


def not_compared(folders: Mapping[str, Path], folds: Sequence[int]) -> str:
    """In words, the finished folds that the comparison on `folds` leaves out; "" where there are none."""
    finished = {name: finished_folds(folder) for name, folder in folders.items()}
    everything = sorted(set().union(*finished.values()))
    left_out = {name: sorted(set(own) - set(folds)) for name, own in finished.items()}
    lacking = {name: sorted(set(everything) - set(own)) for name, own in finished.items()}
    return (
        f"compared on {_named(folds)} alone, which all have finished; left out of the comparison: "
        f"{_of_each(left_out)}; not finished: {_of_each(lacking)} (finish them with 'balrsam crossval "
        "DATASET --configuration NAME', or leave a configuration out: --configurations)"
        if any(left_out.values())
        else ""
    )


def require_distinct_cases(folder: Path, folds: Sequence[int]) -> None:
    """Check that a model's folds can be scored together: none has validated a case of another.

    Raises:
        EvaluationError: a case was validated twice.
    """
    cases = {fold: fold_cases(folder, fold) for fold in folds}
    twice = validated_twice(cases)
    if twice:
        raise EvaluationError(
            folder,
            found=f"{plural(len(twice), 'case')} validated by several folds: {in_which_folds(twice)}",
            expected="a case in the validation of one fold, since their scores are taken together",
            fix=f"choose folds that share none: --folds {' '.join(map(str, folds_apart(cases)))}",
        )


def _of_each(folds: Mapping[str, Sequence[int]]) -> str:
    return ", ".join(f"{name} {_named(some)}" for name, some in folds.items() if some)


def _named(folds: Sequence[int]) -> str:
    return f"fold{'s' if len(folds) > 1 else ''} {' '.join(map(str, folds))}"


def fold_cases(folder: Path, fold: int) -> tuple[str, ...]:
    """The validation cases of a fold, as its summary lists them."""
    return read_summary(ModelFolder(folder).fold(fold).validation.summary).cases
