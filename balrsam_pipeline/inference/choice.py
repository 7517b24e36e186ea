"""Which trained models predict, and loading them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from balrsam_pipeline.inference.cases import Member, require_same_labels
from balrsam_pipeline.inference.postprocessing import Postprocessing
from balrsam_pipeline.inference.predictor import Predictor, PredictorOptions

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which model folders predict, with which folds and weights, and the postprocessing that was chosen for them."""

    folders: tuple[Path, ...]
    weights: tuple[float, ...]
    folds: tuple[int, ...] | None
    checkpoint: str
    postprocessing: Postprocessing


def load_members(choice: ModelChoice, options: PredictorOptions) -> list[Member]:
    """Load the chosen models.

    Raises:
        PredictionError: a folder is no trained model, or the models do not fit together.
    """
    members = [
        Member(Predictor.from_results(folder, choice.folds, options, choice.checkpoint), weight)
        for folder, weight in zip(choice.folders, choice.weights, strict=True)
    ]
    require_same_labels(members)
    for folder, member in zip(choice.folders, members, strict=True):
        LOG.info("model %s: %d fold(s), on %s", folder, len(member.predictor.models), member.predictor.device)
    return members
