"""progress.png: loss, quick-validation Dice and learning rate over the run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from balrsam_pipeline.files import atomic_path
from trainers.loggers.jsonl import Record, read_log

DRAWN_EVERY_S = 60.0


class ProgressPicture:
    """progress.png, drawn from the log at most once a minute and at the end."""

    def __init__(self, log: Path, picture: Path) -> None:
        self._log, self._picture, self._last = log, picture, time.monotonic()

    def log(self, record: Record) -> None:
        """Draw if it is time."""
        if time.monotonic() - self._last >= DRAWN_EVERY_S:
            self._draw()

    def close(self) -> None:
        """Draw the finished run."""
        self._draw()

    def _draw(self) -> None:
        epochs = [record for record in read_log(self._log) if record["event"] == "epoch"]
        if epochs:
            draw_progress(epochs, self._picture)
        self._last = time.monotonic()


def draw_progress(records: Sequence[Record], path: Path) -> None:
    """Draw the records of log.jsonl to a PNG, atomically."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    epochs = [float(record["epoch"]) for record in records]
    loss.plot(epochs, [float(record["loss"]) for record in records], color="tab:blue", label="training loss")
    loss.set_ylabel("training loss")
    scored = [record for record in records if "quick_dice" in record]
    if scored:
        dice = loss.twinx()
        points = [(float(record["epoch"]), float(record["quick_dice"])) for record in scored]
        dice.plot(*zip(*points, strict=True), color="tab:green")
        dice.set_ylabel("quick-validation Dice (EMA)", color="tab:green")
        dice.set_ylim(0, 1)
    rate.plot(epochs, [float(record["learning_rate"]) for record in records], color="tab:gray")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
