"""Bad input ends with one clear message, exit code 2, and nothing half-written."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.runs import Balrsam, roots

from balrsam_pipeline.demo import DemoSize, generate_dataset


def _rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    image = sitk.ReadImage(str(path))
    changed = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    changed.SetSpacing(image.GetSpacing())
    changed.SetOrigin(image.GetOrigin())
    sitk.WriteImage(changed, str(path))


def missing_label(dataset: Path) -> None:
    (dataset / "labelsTr" / "demo_001.nii.gz").unlink()


def mismatched_shapes(dataset: Path) -> None:
    _rewrite(dataset / "imagesTr" / "demo_001_0001.nii.gz", lambda a: a[:-1])


def corrupt_nifti(dataset: Path) -> None:
    (dataset / "imagesTr" / "demo_001_0000.nii.gz").write_bytes(gzip.compress(b"no image" * 100))


def truncated_nifti(dataset: Path) -> None:
    path = dataset / "imagesTr" / "demo_001_0000.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def unknown_label(dataset: Path) -> None:
    _rewrite(dataset / "labelsTr" / "demo_001.nii.gz", lambda a: np.where(a == 2, 7, a).astype(np.uint8))


def mask_of_0_and_255(dataset: Path) -> None:
    _rewrite(dataset / "labelsTr" / "demo_001.nii.gz", lambda a: np.where(a > 0, 255, 0).astype(np.uint8))


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


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda f: f.__name__)
def test_a_broken_dataset_is_named_and_nothing_is_written(
    breakage: Callable[[Path], None], tmp_path: Path, balrsam: Balrsam
) -> None:
    dataset = generate_dataset(
        tmp_path / "raw", DemoSize(training_cases=5, test_cases=0, shape_zyx=(8, 32, 28))
    )
    breakage(dataset)
    done = balrsam("run", "999", *roots(tmp_path), "--max-minutes", "0.01", code=2)
    said = done.stdout + done.stderr
    assert ("dataset.json" if breakage is broken_description else "demo_001") in said
    assert all(word in said for word in ("found", "expected", "fix"))
    assert not list(tmp_path.rglob("*.b2nd"))
    assert not list(tmp_path.rglob("plan.json"))


def test_an_unknown_dataset_lists_those_that_are_there(tmp_path: Path, balrsam: Balrsam) -> None:
    generate_dataset(tmp_path / "raw", DemoSize(training_cases=1, test_cases=0, shape_zyx=(8, 32, 28)))
    done = balrsam("train", "Dataset001_Nothing", *roots(tmp_path), code=2)
    assert "Dataset999_Demo" in done.stderr
