"""Whether a fold trains and validates on the cases that its weights have seen: folds change where groups.csv
or splits_final.json does, or where cases come and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from balrsam_pipeline.dataset import Fold
from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.layout import FoldFolder
from balrsam_pipeline.printable import listed
from trainers.data import FoldData

SHOWN = 5  # cases that a message names, of each kind


def refuse_changed_cases(data: FoldData, checkpoint: Mapping[str, Any]) -> None:
    """Check that a fold has the cases that its weights were trained and validated on. With others its scores
    would be of cases that it has seen, which no setting makes good: nothing accepts it.

    Args:
        checkpoint: metadata of the weights.

    Raises:
        TrainingError: it has other cases, or run.json is damaged; the message names them.
    """
    recorded = checkpoint.get("cases_sha256")  # None: an earlier version's, of which run.json alone says it
    if recorded == data.fold.sha256():
        return
    begun = _begun_with(FoldFolder(data.folder))
    if recorded is None and begun is not None:
        recorded = begun.sha256()
    if recorded is None or recorded == data.fold.sha256():
        return
    named = begun is not None and begun.sha256() == recorded
    changes = list(_changes(begun, data.fold)) if begun is not None and named else []
    raise TrainingError(
        data.folder,
        found="its weights were trained with other cases than the fold has now: "
        + ("; ".join(changes) or "run.json does not say which"),
        expected="a fold that keeps its cases, so that no score is of cases that it was trained on",
        fix=f"train into another --results, or remove {data.folder} to train this fold anew (each fold "
        "whose cases changed says so); or bring the former folds back and plan again",
    )


def _changes(then: Fold, now: Fold) -> Iterator[str]:
    """How the cases of a fold differ, the worst first."""
    before, after = {*then.train, *then.val}, {*now.train, *now.val}
    kinds = {
        "to validate although it trained on them": set(now.val) & set(then.train),
        "to train on although they validated it": set(now.train) & set(then.val),
        "new": after - before,
        "no longer among its cases": before - after,
    }
    for kind, cases in kinds.items():
        if cases:
            yield f"{kind}: {listed(sorted(cases), SHOWN)}"


def _begun_with(folder: FoldFolder) -> Fold | None:
    """The cases that run.json says the fold was begun with; None where it does not say."""
    if not folder.run.is_file():
        return None
    run = read_json(folder.run, TrainingError)
    parts = [
        run.get(name) if isinstance(run, dict) else None for name in ("training_cases", "validation_cases")
    ]
    if not all(isinstance(part, list) for part in parts):
        return None
    train, val = (tuple(map(str, part)) for part in parts if part is not None)
    return Fold(train=train, val=val)
