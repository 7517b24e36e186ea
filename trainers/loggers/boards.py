"""Optional watchers of a run, each an entry of `WATCHERS`: TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import TrainingError
from balrsam_pipeline.layout import FoldFolder
from trainers.loggers.jsonl import JsonlLogger, Logger, Loggers, Record, TextLogger
from trainers.loggers.progress_png import ProgressPicture

FIGURES = ("loss", "quick_dice", "learning_rate", "samples_per_s")


class TensorBoard:
    """Event files in `folder`/tensorboard; wants `pip install tensorboard`."""

    def __init__(self, folder: Path) -> None:
        self._writer = _need("torch.utils.tensorboard", "tensorboard").SummaryWriter(
            str(folder / "tensorboard")
        )

    def log(self, record: Record) -> None:
        """Write the figures of an epoch."""
        for name, value in _figures(record).items():
            self._writer.add_scalar(name, value, int(record["step"]))

    def close(self) -> None:
        """Flush the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A Weights & Biases run that goes on over resumes; wants `pip install wandb`."""

    def __init__(self, folder: Path) -> None:
        name = "-".join(folder.parts[-3:])
        self._run = _need("wandb", "wandb").init(
            project="balrsam", id=name, name=name, dir=str(folder), resume="allow"
        )

    def log(self, record: Record) -> None:
        """Send the figures of an epoch."""
        if record["event"] == "epoch":
            self._run.log(_figures(record), step=int(record["step"]))

    def close(self) -> None:
        """End the run."""
        self._run.finish()


WATCHERS: dict[str, Callable[[Path], Logger]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def open_loggers(folder: Path, resumed_step: int, watchers: Sequence[str]) -> Logger:
    """All that a run in `folder` is logged to: log.jsonl, text, progress.png, and what was asked for.

    Args:
        resumed_step: what an earlier process logged beyond this step is cut off.
        watchers: names of `WATCHERS`.

    Raises:
        TrainingError: no such watcher, or its package is not installed.
    """
    files = FoldFolder(folder)
    log = JsonlLogger(files.log, resumed_step)
    picture = ProgressPicture(log.path, files.progress)
    return Loggers((log, TextLogger(), picture, *make_watchers(watchers, folder)))


def make_watchers(names: Sequence[str], folder: Path) -> list[Logger]:
    """The watchers that were asked for.

    Raises:
        TrainingError: no such watcher, or its package is not installed.
    """
    unknown = sorted(set(names) - set(WATCHERS))
    if unknown:
        expected = f"any of {', '.join(WATCHERS)}"
        raise TrainingError(
            f"watcher '{unknown[0]}'", found="not known", expected=expected, fix="correct --watch"
        )
    return [WATCHERS[name](folder) for name in names]


def _figures(record: Record) -> dict[str, float]:
    """The figures of an epoch; none of another event."""
    return {name: float(record[name]) for name in FIGURES if record["event"] == "epoch" and name in record}


def _need(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise TrainingError(
            f"--watch {package}",
            found=f"cannot be imported: {problem}",
            expected=f"the package {package}",
            fix=f"pip install {package}",
        ) from None
