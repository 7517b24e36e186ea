from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.dataset import read_folds
from balrsam_pipeline.demo import DemoSize, generate_dataset

SMALL = DemoSize(training_cases=2, test_cases=1, shape_zyx=(8, 32, 28))


def test_the_dataset_is_the_same_every_time(tmp_path: Path) -> None:
    one, two = (generate_dataset(tmp_path / name, SMALL) for name in ("a", "b"))
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert len(files) == 1 + 3 * 2 + 3
    for file in files:
        if file.name.endswith(".nii.gz"):
            assert np.array_equal(
                *(sitk.GetArrayFromImage(sitk.ReadImage(str(folder / file))) for folder in (one, two))
            )


def test_every_case_shows_both_labels_with_the_core_inside_the_organ(tmp_path: Path) -> None:
    for path in sorted((generate_dataset(tmp_path) / "labelsTr").iterdir()):
        label = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        assert (label == 1).sum() > 4 * 50
        assert (label == 2).sum() > 50
        assert path.name.endswith(".nii.gz")


def test_spacing_is_anisotropic_and_shared_by_image_and_label(tmp_path: Path) -> None:
    folder = generate_dataset(tmp_path, SMALL)
    image = sitk.ReadImage(str(folder / "imagesTr" / "demo_000_0001.nii.gz"))
    label = sitk.ReadImage(str(folder / "labelsTr" / "demo_000.nii.gz"))
    assert image.GetSpacing() == label.GetSpacing() == (1.25, 1.25, 3.0)
    assert image.GetOrigin() == label.GetOrigin()


def test_folds_that_are_brought_along_validate_every_case_once(tmp_path: Path) -> None:
    folds = read_folds(
        generate_dataset(tmp_path, DemoSize(training_cases=7, test_cases=0), folds=3) / "splits_final.json"
    )
    cases = {f"demo_{index:03d}" for index in range(7)}
    assert sorted(case for fold in folds for case in fold.val) == sorted(cases)
    assert all(set(fold.train) == cases - set(fold.val) for fold in folds)


def test_an_existing_dataset_is_left_as_it_is(tmp_path: Path) -> None:
    folder = generate_dataset(tmp_path, SMALL)
    (folder / "dataset.json").write_text("mine")
    generate_dataset(tmp_path, SMALL)
    assert (folder / "dataset.json").read_text() == "mine"


@pytest.mark.parametrize("link", [True, False])
def test_nothing_under_a_name_that_can_be_guessed_is_written_to_or_removed(
    tmp_path: Path, link: bool
) -> None:
    theirs = tmp_path / "theirs"
    for folder in (theirs, tmp_path / "raw"):
        folder.mkdir()
    planted = tmp_path / "raw" / ".tmp-Dataset999_Demo"
    planted.symlink_to(theirs) if link else planted.mkdir()
    (planted / "notes.txt").write_text("precious")
    generate_dataset(tmp_path / "raw", SMALL)
    assert [path.name for path in planted.iterdir()] == ["notes.txt"]
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {planted.name, "Dataset999_Demo"}
