"""Which labels every reference shows in one piece: of these a second component is known to be false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from balrsam_pipeline.dataset.labels import LabelScheme
from balrsam_pipeline.errors import EvaluationError
from balrsam_pipeline.execution import local_executor, run_cases
from balrsam_pipeline.imageio import read_label
from balrsam_pipeline.voxels.components import connected_components

FEWEST_REFERENCES = 8  # that show a label, before something is said of all of them
MOST_REFERENCES = 500  # that are read, evenly over the names; more would tell no more
WHOLE = 0.995  # of a label's voxels in its largest piece: the rest are slips of the hand


@dataclass(frozen=True, slots=True)
class _Task:
    label: Path
    labels: LabelScheme


def in_one_piece(references: Sequence[Path], labels: LabelScheme, workers: int) -> frozenset[tuple[str, ...]]:
    """The labels, as tuples of one name, and all of them together, that every reference shows in one piece.

    Args:
        references: label maps of the training cases.

    Raises:
        ImageError: a file cannot be read.
    """
    chosen = sorted(references)[:: -(-len(references) // MOST_REFERENCES) or 1]
    tasks = {str(path): _Task(path, labels) for path in chosen}
    shares = []
    with local_executor(min(workers, len(tasks))) as executor:
        for outcome in run_cases(_largest_shares, tasks, executor, workers, EvaluationError):
            if outcome.error is not None:
                raise outcome.error
            shares.append(outcome.value)
    shares_rg = np.array(shares, dtype=np.float64).reshape(len(shares), -1)
    there = ~np.isnan(shares_rg)
    whole = (there.sum(axis=0) >= FEWEST_REFERENCES) & (~there | (shares_rg >= WHOLE)).all(axis=0)
    return frozenset(names for names, holds in zip(_groups(labels), whole, strict=True) if holds)


def _groups(labels: LabelScheme) -> list[tuple[str, ...]]:
    """Each label, and all of them where there are several."""
    groups: list[tuple[str, ...]] = [(name,) for name in labels.names]
    return [*groups, labels.names] if len(groups) > 1 else groups


def _largest_shares(task: _Task) -> list[float]:
    """For each group of labels the share of its voxels in its largest component; NaN where it is absent."""
    label_zyx = read_label(task.label).data[0]
    shares = []
    for names in _groups(task.labels):
        mask = np.logical_or.reduce([task.labels.mask(label_zyx, name) for name in names])
        components, _ = connected_components(mask)
        sizes = np.bincount(components.ravel())[1:]
        shares.append(float(sizes.max() / sizes.sum()) if len(sizes) else float("nan"))
    return shares
