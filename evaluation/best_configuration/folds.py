"""Which configurations and folds of a dataset have validation predictions, and of which cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from balrsam_pipeline.errors import EvaluationError
from evaluation.reports.summary_json import read_summary


def trained_configurations(results: Path) -> tuple[str, ...]:
    """Names of the configurations with a finished fold under `results/DATASET`.

    Raises:
        EvaluationError: there is none.
    """
    names = tuple(
        sorted(
            folder.name.removesuffix("__balrsam")
            for folder in results.glob("*__balrsam")
            if finished_folds(folder)
        )
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
    found = (path.parent.parent.name for path in folder.glob("fold_*/validation/summary.json"))
    return tuple(
        sorted(int(name.removeprefix("fold_")) for name in found if name.removeprefix("fold_").isdigit())
    )


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
    return read_summary(folder / f"fold_{fold}" / "validation" / "summary.json").cases
