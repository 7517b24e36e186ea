"""Which configurations and folds of a dataset have validation predictions, and of which cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.layout import ModelFolder, ResultsFolder
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


def fold_cases(folder: Path, fold: int) -> tuple[str, ...]:
    """The validation cases of a fold, as its summary lists them."""
    return read_summary(ModelFolder(folder).fold(fold).validation.summary).cases
