"""With which weights postprocessing or a best configuration was chosen: noted then, looked at when it is
used, since a fold that is trained again is another model."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from balrsam_pipeline.folds import FoldName
from balrsam_pipeline.inference.best_configuration import BestConfiguration
from balrsam_pipeline.inference.postprocessing import Postprocessing, read_postprocessing
from balrsam_pipeline.layout import ModelFolder
from balrsam_pipeline.printable import listed

LOG = logging.getLogger(__name__)


def final_weights(folder: Path, folds: Sequence[FoldName | str]) -> dict[str, str]:
    """SHA-256 of the final checkpoints of a model's folds, by fold; those that have none are left out."""
    found = {}
    for fold in folds:
        path = ModelFolder(folder).fold(fold).checkpoint("final")
        if path.is_file():
            with path.open("rb") as file:
                found[str(fold)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def rules_of(folder: Path, folds: Sequence[FoldName] | None = None) -> Postprocessing:
    """The postprocessing that was chosen for a model, none where none was; a warning where it was chosen with
    other weights than those of now.

    Args:
        folds: those that predict; None: all that they were chosen with.

    Raises:
        PredictionError: the file is malformed.
    """
    path = ModelFolder(folder).crossval.postprocessing
    if not path.is_file():
        return Postprocessing()
    rules = read_postprocessing(path)
    warn_of_other_weights("the postprocessing", folder, folds, rules.weights_sha256)
    return replace(rules, weights_sha256={})  # with the weights of now they are noted in prediction.json


def warn_of_further_folds(best: BestConfiguration, folders: Sequence[Path]) -> None:
    """Warn where every chosen model has finished further folds since: the choice keeps to those of its day.

    Args:
        folders: of the chosen models.
    """
    finished = set.intersection(*(_finished(folder) for folder in folders))
    further = sorted(finished - set(best.folds))
    if further and finished > set(best.folds):
        LOG.warning(
            "the best configuration was chosen when fold %s had been trained, and predicts with that alone; "
            "fold %s has been trained since: choose again (balrsam find_best_configuration %s), or name the "
            "folds (--folds %s)",
            listed(best.folds),
            listed(further),
            best.dataset,
            " ".join(map(str, sorted(finished))),
        )


def _finished(folder: Path) -> set[int]:
    model = ModelFolder(folder)
    return {fold for fold in model.folds() if model.fold(fold).checkpoint("final").is_file()}


def warn_of_other_weights(
    chosen: str, folder: Path, folds: Sequence[FoldName] | None, noted: Mapping[str, str]
) -> None:
    """Warn where something was chosen with other weights than those of a model's folds now.

    Args:
        chosen: what was.
        folds: those that predict; None: all that it was chosen with.
        noted: fold -> SHA-256 of its final checkpoint; folds that are not in it are not looked at, and there
            are none in what earlier versions chose.
    """
    wanted = {str(fold) for fold in folds} if folds is not None else noted.keys()
    now = final_weights(folder, [fold for fold in noted if fold in wanted])
    others = [fold for fold, sha256 in now.items() if sha256 != noted[fold]]
    if others:
        LOG.warning(
            "%s of %s was chosen with other weights: fold %s has been trained again since; choose again: "
            "balrsam find_best_configuration %s",
            chosen,
            ModelFolder(folder).name,
            listed(others),
            folder.absolute().parent.name,
        )
