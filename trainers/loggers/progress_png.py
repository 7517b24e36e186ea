"""progress.png: loss, quick-validation Dice and learning rate over the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from balrsam_pipeline.files import atomic_path

Record = Mapping[str, float | int | str]


def draw_progress(records: Sequence[Record], path: Path) -> None:
    """Draw the records of log.jsonl to a PNG, atomically."""
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    epochs = [float(record["epoch"]) for record in records]
    loss.plot(epochs, [float(record["loss"]) for record in records], color="tab:blue", label="training loss")
    loss.set_ylabel("training loss")
    dice = loss.twinx()
    dice.plot(epochs, [float(record["quick_dice"]) for record in records], color="tab:green")
    dice.set_ylabel("quick-validation Dice (EMA)", color="tab:green")
    dice.set_ylim(0, 1)
    rate.plot(epochs, [float(record["learning_rate"]) for record in records], color="tab:gray")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("epoch")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
