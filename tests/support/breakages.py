"""Ways in which a raw dataset is broken, each a function that breaks the demo dataset."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk


def rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the voxels of an image."""
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.SetSpacing(image.GetSpacing())
    changed.SetOrigin(image.GetOrigin())
    sitk.WriteImage(changed, str(path))


def missing_label(dataset: Path) -> None:
    (dataset / "labelsTr" / "demo_001.nii.gz").unlink()


def mismatched_shapes(dataset: Path) -> None:
    rewrite(dataset / "imagesTr" / "demo_001_0001.nii.gz", lambda a: a[:-1])


def corrupt_nifti(dataset: Path) -> None:
    (dataset / "imagesTr" / "demo_001_0000.nii.gz").write_bytes(gzip.compress(b"no image" * 100))


def truncated_nifti(dataset: Path) -> None:
    path = dataset / "imagesTr" / "demo_001_0000.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def unknown_label(dataset: Path) -> None:
    rewrite(dataset / "labelsTr" / "demo_001.nii.gz", lambda a: np.where(a == 2, 7, a).astype(np.uint8))


def mask_of_0_and_255(dataset: Path) -> None:
    rewrite(dataset / "labelsTr" / "demo_001.nii.gz", lambda a: np.where(a > 0, 255, 0).astype(np.uint8))


def broken_description(dataset: Path) -> None:
    (dataset / "dataset.json").write_text('{"labels": ')


BREAKAGES = [
    missing_label,
    mismatched_shapes,
    corrupt_nifti,
    truncated_nifti,
    unknown_label,
    mask_of_0_and_255,
    broken_description,
]
