"""The network: BALR-SAM. `build(plan)` makes it; names are imported when used, so that help needs no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from balrsam_pipeline.network.build import build
    from balrsam_pipeline.network.checkpoints import checkpoint_sha256
    from balrsam_pipeline.network.locate import find_checkpoint
    from balrsam_pipeline.network.model import BalrSam, TrainingOutput
    from balrsam_pipeline.network.state import (
        load_adapter,
        load_trainable_state,
        load_trained,
        save_adapter,
        trainable_state,
    )

__all__ = [
    "BalrSam",
    "TrainingOutput",
    "build",
    "checkpoint_sha256",
    "find_checkpoint",
    "load_adapter",
    "load_trainable_state",
    "load_trained",
    "save_adapter",
    "trainable_state",
]

_HOMES = {
    "BalrSam": "model",
    "TrainingOutput": "model",
    "build": "build",
    "checkpoint_sha256": "checkpoints",
    "find_checkpoint": "locate",
    "load_adapter": "state",
    "load_trainable_state": "state",
    "load_trained": "state",
    "save_adapter": "state",
    "trainable_state": "state",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # a submodule of the same name (`build`) must not win the next time
    return value
