"""What differs between the settings of now and those that a run was started with, perhaps long ago."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from balrsam_pipeline.serialise import to_json
from trainers.config import TrainingConfig

# settings that came later -> the value under which earlier runs behave as they did, where no default does
FORMERLY: dict[str, Any] = {
    "augmentation": {
        "translation_probability": 0.0,
        "intensity_curve_probability": 0.0,
        "elastic_probability": 0.0,
    },
    "feature_dropout": 0.0,
}


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a run was started with; those that did not exist then have the values under which it
    behaves as it did: their defaults, or those of `FORMERLY`."""
    filled: dict[str, Any] = {}
    for name, default in to_json(TrainingConfig()).items():
        value = settings.get(name, FORMERLY.get(name, default))
        if isinstance(default, dict) and isinstance(value, dict):
            value = default | FORMERLY.get(name, {}) | value
        filled[name] = value
    return filled | {name: value for name, value in settings.items() if name not in filled}


def as_begun(
    config: TrainingConfig, settings: Mapping[str, Any], epochs_of_file: bool = False
) -> TrainingConfig:
    """The settings of a run that goes on: what they leave open of augmentation is as it was begun, though
    rules for it may have come since.

    Args:
        epochs_of_file: the number of epochs is one of `--settings`. Earlier versions left it out where the
            command line had a budget in minutes or steps: a run that was begun so goes on without it.
    """
    limits = [(settings.get(name), getattr(config, name)) for name in ("max_minutes", "max_steps")]
    alike = any(begun for begun, _ in limits) and all(begun == asked for begun, asked in limits)
    if epochs_of_file and alike and config.epochs is not None and settings.get("epochs") is None:
        config = dataclasses.replace(config, epochs=None)
    begun, asked = with_defaults(settings)["augmentation"], to_json(config.augmentation)
    given = {name: begun[name] for name, value in asked.items() if value is None}
    return dataclasses.replace(config, augmentation=dataclasses.replace(config.augmentation, **given))


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """The settings that differ between two JSON objects (or dataclasses), as lines `name: old -> new`.

    Example:
        >>> differences(TrainingConfig(epochs=100), TrainingConfig(epochs=200))
        ['epochs: 100 -> 200']
    """
    old, new = to_json(old), to_json(new)
    if isinstance(old, dict) and isinstance(new, dict):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in differences(old.get(key), new.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if old == new else [f"{name}: {old} -> {new}"]
