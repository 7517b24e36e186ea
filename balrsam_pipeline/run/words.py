"""What of a request the commands of its steps are told, as words of a command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from balrsam_pipeline.execution import cluster_words
from balrsam_pipeline.paths import shown
from balrsam_pipeline.run.request import RunRequest

SHARED = ("--raw", "--preprocessed", "--results")


def plan_words(request: RunRequest) -> tuple[str, ...]:
    """The plan, where it has a name."""
    return ("--plan", request.plan) if request.plan else ()


def training_words(request: RunRequest) -> tuple[str, ...]:
    """How long and with what to train, where, and the folders."""
    words: tuple[str, ...] = ("--max-minutes", f"{request.max_minutes:g}") if request.max_minutes else ()
    words += ("--epochs", str(request.epochs)) if request.epochs else ()
    words += ("--settings", str(request.settings)) if request.settings else ()
    words += ("--accept-changed-settings",) if request.accept_changed_settings else ()
    return (*words, *device_words(request), *root_words(request))


def device_words(request: RunRequest) -> tuple[str, ...]:
    """The device, where one was named."""
    return ("--device", request.device) if request.device else ()


def planned_device_words(request: RunRequest) -> tuple[str, ...]:
    """The CPU, where all is to be trained there and no other memory is named: a plan for a GPU that is left
    alone would train for days."""
    on_cpu = {request.device, *request.devices} - {None} == {"cpu"}
    named = "--gpu-memory-gb" in request.options.get("plan_and_preprocess", {})
    return ("--device", "cpu") if on_cpu and not named else ()


def where_words(request: RunRequest) -> tuple[str, ...]:
    """The device and the folders, as words for a command."""
    return (*device_words(request), *root_words(request))


def shared_words(request: RunRequest) -> str:
    """The folders that all steps share, as words that may be added to any of their commands."""
    words = root_words(request)
    return shlex.join([word if word in SHARED else shown(Path(word)) for word in words])


def root_words(request: RunRequest) -> tuple[str, ...]:
    """The folders."""
    roots = request.roots
    folders = (roots.raw, roots.preprocessed, roots.results)
    return tuple(word for name, folder in zip(SHARED, folders, strict=True) for word in (name, str(folder)))


def process_words(request: RunRequest) -> tuple[str, ...]:
    """How many processes."""
    return ("--workers", str(request.workers)) if request.workers else ()


def worker_words(request: RunRequest) -> tuple[str, ...]:
    """How many workers, and the cluster."""
    return (*process_words(request), *cluster_words(request.cluster))


def given_paths(paths: Mapping[str, Path | None]) -> dict[str, Path]:
    """Those paths that are there, by label."""
    return {label: path for label, path in paths.items() if path is not None}


def as_text(value: float | None) -> str:
    """A number as a setting of a step."""
    return "default" if value is None else f"{value:g}"
