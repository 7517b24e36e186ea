"""The ten datasets of the Medical Segmentation Decathlon, by number and name."""

from __future__ import annotations

import re

DATASET = re.compile(r"(?:Dataset|Task)([0-9]+)_(.+)")  # a dataset's number and the rest of its name
MSD_TASKS = (
    *("Task01_BrainTumour", "Task02_Heart", "Task03_Liver", "Task04_Hippocampus", "Task05_Prostate"),
    *("Task06_Lung", "Task07_Pancreas", "Task08_HepaticVessel", "Task09_Spleen", "Task10_Colon"),
)


def is_decathlon(dataset: str) -> bool:
    """Whether a dataset is one of the Decathlon's.

    >>> is_decathlon("Dataset004_Hippocampus"), is_decathlon("Dataset004_Hearts")
    (True, False)
    """
    parts = DATASET.fullmatch(dataset)
    return parts is not None and f"Task{int(parts[1]):02d}_{parts[2]}" in MSD_TASKS
