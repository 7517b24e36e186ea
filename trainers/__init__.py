"""From a plan to weights: training a fold, and cross-validation over all folds.

Names load on first use, so that `balrsam train --help` answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from balrsam_pipeline.lazy import lazy_face

if TYPE_CHECKING:
    from trainers.config import AugmentationConfig, LossConfig, TrainingConfig, read_training_config
    from trainers.crossval import CrossvalRequest, cross_validate
    from trainers.fold import train_fold
    from trainers.request import FoldResult, TrainRequest
    from trainers.stopping import TrainingStopped

__all__ = [
    "AugmentationConfig",
    "CrossvalRequest",
    "FoldResult",
    "LossConfig",
    "TrainRequest",
    "TrainingConfig",
    "TrainingStopped",
    "cross_validate",
    "read_training_config",
    "train_fold",
]

__getattr__ = lazy_face(
    __name__,
    {
        "AugmentationConfig": ".config",
        "CrossvalRequest": ".crossval",
        "FoldResult": ".request",
        "LossConfig": ".config",
        "TrainRequest": ".request",
        "TrainingConfig": ".config",
        "TrainingStopped": ".stopping",
        "cross_validate": ".crossval",
        "read_training_config": ".config",
        "train_fold": ".fold",
    },
)
