"""Small raw datasets of every kind, written with SimpleITK, tifffile and Pillow."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

Spacing = tuple[float, float, float]


def ball(
    shape: tuple[int, int, int], radius: float, centre: Sequence[float] | None = None
) -> npt.NDArray[np.bool_]:
    """A ball in voxels, in the middle unless told otherwise."""
    middle = centre or [(size - 1) / 2 for size in shape]
    grid = np.ogrid[tuple(slice(size) for size in shape)]
    return sum((axis - c) ** 2 for axis, c in zip(grid, middle, strict=True)) <= radius**2  # type: ignore[return-value]


def organ_case(
    seed: int, shape: tuple[int, int, int] = (10, 40, 36), channels: int = 1
) -> tuple[list[Any], npt.NDArray[np.uint8]]:
    """Channels of noise around an organ (1) with a core (2) that are brighter than the rest."""
    generator = np.random.default_rng(seed)
    inner = min(size for size in shape if size > 1) / 5
    label = ball(shape, min(shape[1:]) / 4).astype(np.uint8) + ball(shape, inner).astype(np.uint8)
    images = [
        (100 + 80 * label + 15 * generator.normal(size=shape)).astype(np.int16) for _ in range(channels)
    ]
    return images, label


def write_volume(
    path: Path, volume_zyx: npt.NDArray[Any], spacing_zyx: Spacing, direction: Sequence[float] | None = None
) -> None:
    """Write a volume in the format that its name asks for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(volume_zyx)
    image.SetSpacing(spacing_zyx[::-1])
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))


def describe(
    folder: Path,
    labels: Mapping[str, Any],
    channels: Sequence[str],
    cases: int,
    ending: str = ".nii.gz",
    **more: Any,
) -> Path:
    """Write dataset.json."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {str(index): name for index, name in enumerate(channels)}
    content = {
        "channel_names": names,
        "labels": dict(labels),
        "numTraining": cases,
        "file_ending": ending,
        **more,
    }
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def volume_dataset(
    folder: Path,
    cases: int = 6,
    spacing: Spacing = (1.0, 1.0, 1.0),
    channels: int = 1,
    shape: tuple[int, int, int] = (10, 40, 36),
) -> Path:
    """A dataset of MR-like volumes with an organ and its core."""
    for index in range(cases):
        images, label = organ_case(index, shape, channels)
        for channel, image in enumerate(images):
            write_volume(folder / "imagesTr" / f"case_{index:02d}_{channel:04d}.nii.gz", image, spacing)
        write_volume(folder / "labelsTr" / f"case_{index:02d}.nii.gz", label, spacing)
    return describe(
        folder,
        {"background": 0, "organ": 1, "core": 2},
        [f"T{channel + 1}" for channel in range(channels)],
        cases,
    )
