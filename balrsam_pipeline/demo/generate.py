"""The embedded demo dataset in the raw format: seeded, two channels, two labels, anisotropic spacing; made in
about a second."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from balrsam_pipeline.demo.phantom import make_phantom
from balrsam_pipeline.execution.whole_folder import scratch_folder
from balrsam_pipeline.layout import DESCRIPTION, SPLITS_FINAL

DATASET_NAME = "Dataset999_Demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSize:
    """How large the demo dataset is: cases, and voxels and their size along z, y, x."""

    training_cases: int = 15
    test_cases: int = 4
    shape_zyx: tuple[int, int, int] = (14, 56, 48)
    spacing_mm: tuple[float, float, float] = (3.0, 1.25, 1.25)


def generate_dataset(
    raw: Path, size: DemoSize | None = None, seed: int = 7, folds: int | None = None
) -> Path:
    """Write the demo dataset below the folder `raw` and return its folder.

    Args:
        raw: where datasets lie.
        size: how large it is.
        seed: the only source of randomness.
        folds: bring folds along (splits_final.json), so many; None leaves them to planning.

    Test labels are written too (labelsTs), as a challenge's organisers would keep them, so that predictions
    can be scored. The folder appears complete or not at all; an existing one is left as it is.
    """
    size = size or DemoSize()
    folder = raw / DATASET_NAME
    if folder.exists():
        return folder
    with scratch_folder(folder) as scratch:
        building = scratch / DATASET_NAME
        _write_dataset(building, size, seed, folds)
        building.rename(folder)
    return folder


def _write_dataset(folder: Path, size: DemoSize, seed: int, folds: int | None) -> None:
    for index in range(size.training_cases + size.test_cases):
        training = index < size.training_cases
        generator = np.random.default_rng((seed, index))
        _write_case(folder, "Tr" if training else "Ts", f"demo_{index:03d}", size, generator)
    description = {
        "name": "Demo",
        "description": "Generated volumes: an organ and its core in two MR-like channels",
        "channel_names": {"0": "T1", "1": "T2"},
        "labels": {"background": 0, "organ": 1, "core": 2},
        "numTraining": size.training_cases,
        "file_ending": ".nii.gz",
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    if folds is not None:
        cases = [f"demo_{index:03d}" for index in range(size.training_cases)]
        splits = [
            {"train": [case for case in cases if case not in cases[fold::folds]], "val": cases[fold::folds]}
            for fold in range(folds)
        ]
        (folder / SPLITS_FINAL).write_text(json.dumps(splits) + "\n", encoding="utf-8")


def _write_case(folder: Path, part: str, case: str, size: DemoSize, generator: np.random.Generator) -> None:
    z, y, x = size.shape_zyx
    jitter = generator.integers(-2, 3, 3)
    phantom = make_phantom(
        (z + int(jitter[0]), y + 2 * int(jitter[1]), x + 2 * int(jitter[2])), size.spacing_mm, generator
    )
    origin = tuple(float(value) for value in generator.uniform(-80, 80, 3).round(2))
    for channel, volume in enumerate(phantom.image_czyx):
        _write(folder / f"images{part}" / f"{case}_{channel:04d}.nii.gz", volume, size.spacing_mm, origin)
    _write(folder / f"labels{part}" / f"{case}.nii.gz", phantom.label_zyx, size.spacing_mm, origin)


def _write(
    path: Path, volume_zyx: np.ndarray, spacing_mm: tuple[float, float, float], origin: tuple[float, ...]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(volume_zyx)
    image.SetSpacing(spacing_mm[::-1])
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path), useCompression=True)
