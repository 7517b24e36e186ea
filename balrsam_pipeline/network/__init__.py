"""The network: BALR-SAM. `build(plan)` makes it; names are imported when used, so that help needs no torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from balrsam_pipeline.network.accounting import NetworkCost, count_cost, describe_network
    from balrsam_pipeline.network.builder import build
    from balrsam_pipeline.network.checkpoints import checkpoint_sha256
    from balrsam_pipeline.network.compilation import compile_network
    from balrsam_pipeline.network.locate import find_checkpoint
    from balrsam_pipeline.network.model import BalrSam, TrainingOutput
    from balrsam_pipeline.network.moments import measure_second_moments
    from balrsam_pipeline.network.presets import preset
    from balrsam_pipeline.network.state import (
        load_adapter,
        load_trainable_state,
        load_trained,
        save_adapter,
        trainable_state,
    )

__all__ = [
    "BalrSam",
    "NetworkCost",
    "TrainingOutput",
    "build",
    "checkpoint_sha256",
    "compile_network",
    "count_cost",
    "describe_network",
    "find_checkpoint",
    "load_adapter",
    "load_trainable_state",
    "load_trained",
    "measure_second_moments",
    "preset",
    "save_adapter",
    "trainable_state",
]

_HOMES = {
    "BalrSam": "model",
    "NetworkCost": "accounting",
    "TrainingOutput": "model",
    "build": "builder",
    "checkpoint_sha256": "checkpoints",
    "compile_network": "compilation",
    "count_cost": "accounting",
    "describe_network": "accounting",
    "find_checkpoint": "locate",
    "load_adapter": "state",
    "load_trainable_state": "state",
    "load_trained": "state",
    "measure_second_moments": "moments",
    "preset": "presets",
    "save_adapter": "state",
    "trainable_state": "state",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
