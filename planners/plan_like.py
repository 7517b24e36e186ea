"""Planning one dataset like another: its decisions taken over, what the data fix stays the data's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from balrsam_pipeline.dataset import DatasetDescription
from balrsam_pipeline.errors import PlanError
from balrsam_pipeline.layout import PreprocessedFolder
from balrsam_pipeline.paths import dataset_number
from balrsam_pipeline.plan import Configuration, Fingerprint, Plan, read_plan


def plan_like(other: Plan, fingerprint: Fingerprint, description: DatasetDescription) -> Plan:
    """The plan of `other` for this dataset.

    Spacing, normalisation and its statistics, sizes and network are the other's, so that its weights fit and
    see intensities alike; the number of classes is this dataset's.

    Raises:
        PlanError: the datasets differ in the number of channels.
    """
    return Plan(
        dataset=fingerprint.dataset,
        fingerprint_sha256=fingerprint.sha256(),
        channel_statistics=other.channel_statistics,
        configurations={
            name: _adopt(configuration, other, description)
            for name, configuration in other.configurations.items()
        },
        default_configuration=other.default_configuration,
        companions=other.companions,
        overrides={**other.overrides, "like": _origin(other, fingerprint)},
        orientations=fingerprint.orientations,
        gpu_memory_gb=other.gpu_memory_gb,
    )


def _origin(other: Plan, fingerprint: Fingerprint) -> str:
    """The dataset whose plan is taken over: that of `other`, or where that is a former plan of this dataset,
    the one that it was taken from."""
    former = other.dataset == fingerprint.dataset
    return other.overrides.get("like", other.dataset) if former else other.dataset


def find_plan(name: str, preprocessed: Path) -> Plan:
    """The plan that `--like` names: a plan.json, a folder that holds one, or a preprocessed dataset.

    Raises:
        PlanError: there is none, or it is of a newer schema.
    """
    numbered = [
        folder
        for folder in preprocessed.glob("Dataset*_*")
        if str(dataset_number(folder.name)) == name.lstrip("0")
    ]
    candidates = [
        Path(name),
        *(PreprocessedFolder(folder).plan for folder in (Path(name), preprocessed / name, *numbered[:1])),
    ]
    for path in candidates:
        if path.is_file():
            return read_plan(path)
    raise PlanError(
        f"--like {name}",
        found="no such plan",
        expected=f"a plan.json, a folder that holds one, or a dataset in {preprocessed}",
        fix="plan that dataset first, or name the file",
    )


def _adopt(configuration: Configuration, other: Plan, description: DatasetDescription) -> Configuration:
    channels, planned = len(description.channel_names), len(configuration.normalization)
    if channels != planned:
        raise PlanError(
            f"a plan like that of {other.dataset}",
            found=f"a dataset of {channels} channel(s)",
            expected=f"{planned}, as in {other.dataset}",
            fix="plan it by itself (without --like), or like a dataset with the same channels",
        )
    reason = f"taken over from {other.dataset}"
    return replace(
        configuration,
        network=replace(configuration.network, classes=description.labels.classes),
        reasons={"like": reason, **configuration.reasons},
    )
