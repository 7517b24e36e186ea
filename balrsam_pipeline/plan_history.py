"""Plans of earlier versions: read with today's names and hashed with theirs, so that their runs go on.

The small network of ours was called `vit_t` until that name went to MobileSAM's TinyViT, which never trains
from scratch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.files import read_json

OLD_NAME, NEW_NAME = "vit_t", "vit_mini"


def as_of_today(plan: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a plan with today's names; whatever is malformed is left for the reader to refuse."""
    return _renamed(plan, OLD_NAME, NEW_NAME)


def as_first_written(plan: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a plan with the names of the first version; what is hashed."""
    return _renamed(plan, NEW_NAME, OLD_NAME)


def read_versioned(
    path: Path, what: str, newest: int, taken_for: Callable[[dict[str, Any]], Any] | None = None
) -> dict[str, Any]:
    """The JSON of a plan or fingerprint whose schema_version is `newest` or older.

    Args:
        what: "plan" or "fingerprint", for the message.
        taken_for: see `read_json`.

    Raises:
        PlanError: missing, malformed, or newer.
    """
    value = read_json(path, PlanError, taken_for)
    version = value.get("schema_version") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(version, int) or version > newest:
        raise PlanError(
            path,
            found=f"schema_version {version!r}",
            expected=f"a {what} of schema_version {newest} or older",
            fix="update balrsam-pipeline (pip install -U balrsam-pipeline), or make it again: balrsam "
            "plan_and_preprocess DATASET",
        )
    return value


def _renamed(plan: dict[str, Any], before: str, after: str) -> dict[str, Any]:
    configurations = plan.get("configurations")
    if not isinstance(configurations, dict):
        return plan
    return {
        **plan,
        "configurations": {name: _with_name(item, before, after) for name, item in configurations.items()},
    }


def _with_name(configuration: Any, before: str, after: str) -> Any:
    network = configuration.get("network") if isinstance(configuration, dict) else None
    if not isinstance(network, dict):
        return configuration
    if network.get("backbone") != before or network.get("from_scratch") is not True:
        return configuration
    return {**configuration, "network": {**network, "backbone": after}}
