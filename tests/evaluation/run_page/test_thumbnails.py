"""Small pictures on a run's page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.imageio import Geometry, Image, write_image, write_label
from evaluation.run_page.thumbnails import thumbnails

GRID = Geometry(dimension=3, shape_zyx=(6, 14, 20), spacing_mm=(2.0, 1.0, 1.0))
COLOURS = {1: (255, 0, 0)}


@pytest.fixture
def case(tmp_path: Path) -> CaseFiles:
    noise = np.random.default_rng(0).normal(size=(1, *GRID.shape_zyx)).astype(np.float32)
    write_image(tmp_path / "a_0000.nii.gz", Image(noise, GRID))
    label = np.zeros(GRID.shape_zyx, np.uint8)
    label[4, 2:7, 12:19] = 1
    write_label(tmp_path / "upright.nii.gz", label, GRID)
    return CaseFiles("a", (tmp_path / "a_0000.nii.gz",))


def sources(case: CaseFiles, *paths: Path) -> list[str]:
    return [one.source for one in thumbnails(case, tuple((path, path.stem) for path in paths), COLOURS)]


@pytest.mark.parametrize("orientation", ["RAI", "PLS", "SPL"])
def test_label_maps_stored_in_another_orientation_are_drawn_where_their_header_lays_them(
    case: CaseFiles, tmp_path: Path, orientation: str
) -> None:
    upright, turned = tmp_path / "upright.nii.gz", tmp_path / "turned.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(upright)), orientation), str(turned))
    expected = sources(case, upright, upright)
    assert len(expected) == 2 and sources(case, turned, upright) == expected
    assert sources(case) != expected[:1]


def test_of_label_maps_of_another_shape_the_image_alone_is_drawn(case: CaseFiles, tmp_path: Path) -> None:
    longer = Geometry(dimension=3, shape_zyx=(60, 14, 20), spacing_mm=(2.0, 1.0, 1.0))
    label = np.zeros(longer.shape_zyx, np.uint8)
    label[50] = 1
    write_label(tmp_path / "longer.nii.gz", label, longer)
    assert sources(case, tmp_path / "longer.nii.gz") == sources(case)
