"""What a caller asks of training, and what comes back; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from balrsam_pipeline.paths import Roots, model_folder
from trainers.config import TrainingConfig

if TYPE_CHECKING:
    from evaluation import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """Train one fold of one configuration, or go on where it stopped.

    Attributes:
        dataset: the raw dataset folder.
        configuration: its name; None takes the plan's default.
        device: "cuda", "cuda:1", "cpu", "mps"; None chooses.
        workers: processes that make batches; None chooses, 0 makes them in the training process.
        accept_changed_settings: go on although settings differ from those the run was started with.
        continue_on_worker_loss: replace a worker process that died instead of ending the training.
        base: the SAM checkpoint to adapt; None looks in the cache.
        init_from: a trained checkpoint whose weights are the starting point.
        watchers: names of `trainers.loggers.boards.WATCHERS` to log to as well.
    """

    dataset: Path
    roots: Roots
    configuration: str | None = None
    fold: int = 0
    config: TrainingConfig = field(default_factory=TrainingConfig)
    device: str | None = None
    workers: int | None = None
    accept_changed_settings: bool = False
    continue_on_worker_loss: bool = False
    base: Path | None = None
    init_from: Path | None = None
    watchers: tuple[str, ...] = ()

    def model_folder(self, configuration: str) -> Path:
        """The results folder of the configuration."""
        return model_folder(self.roots, self.dataset.name, configuration)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldResult:
    """A trained and validated fold: its folder, its scores, and whether all was there already.

    `summary` is None on ranks other than the first, which do not validate.
    """

    folder: Path
    summary: Summary | None
    already_done: bool
