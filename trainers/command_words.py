"""The command line that trains one fold in a process of its own."""

from __future__ import annotations

from pathlib import Path

from trainers.request import TrainRequest


def training_words(train: TrainRequest, fold: int, device: str | None, settings: Path) -> list[str]:
    """The words after `balrsam` that train `fold` as `train` says, with the training settings of a JSON
    file."""
    words = [
        "train",
        str(train.dataset),
        "--fold",
        str(fold),
        "--configuration",
        str(train.configuration),
        "--settings",
        str(settings),
    ]
    for option, value in (
        ("raw", train.roots.raw),
        ("preprocessed", train.roots.preprocessed),
        ("results", train.roots.results),
    ):
        words += [f"--{option}", str(value)]
    optional = {
        "--device": device,
        "--workers": train.workers,
        "--checkpoint": train.base,
        "--init-from": train.init_from,
    }
    for option, given in optional.items():
        words += [option, str(given)] if given is not None else []
    words += ["--watch", *train.watchers] if train.watchers else []
    words += ["--accept-changed-settings"] if train.accept_changed_settings else []
    return words + (["--continue-on-worker-loss"] if train.continue_on_worker_loss else [])
