"""Twelve odd images: what is predicted has exactly the geometry of its image."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as Pillow

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.imageio import file_ending_of, label_ending, read_geometry
from balrsam_pipeline.inference import Predictor, PredictorOptions, predict_files


def volume(dtype: type, shape: tuple[int, ...] = (6, 9, 7)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 3, shape).astype(dtype)


def write_sitk(path: Path, array: np.ndarray, **header: tuple[float, ...]) -> Path:
    image = sitk.GetImageFromArray(array)
    for name, value in header.items():
        getattr(image, f"Set{name}")(value)
    sitk.WriteImage(image, str(path))
    return path


def write_nibabel(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def write_picture(path: Path, array: np.ndarray) -> Path:
    Pillow.fromarray(array).save(path)
    return path


def rotation() -> tuple[float, ...]:
    a, b = np.deg2rad(20), np.deg2rad(-13)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return tuple((about_z @ about_x).ravel())


LPS, SWAPPED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ODD = {
    "oblique": lambda p: write_sitk(
        p / "a_0000.nii.gz",
        volume(np.float32),
        Spacing=(0.7, 0.8, 2.5),
        Origin=(-31.5, 12.25, 7.0),
        Direction=rotation(),
    ),
    "negative axes": lambda p: write_nibabel(
        p / "a_0000.nii.gz", volume(np.int16), np.diag([-0.9, -1.1, 3.0, 1.0])
    ),
    "left posterior superior": lambda p: write_sitk(
        p / "a_0000.mha", volume(np.int16), Direction=(1.0, 0, 0, 0, 1, 0, 0, 0, 1), Origin=(5.0, 6.0, 7.0)
    ),
    "right anterior inferior": lambda p: write_sitk(
        p / "a_0000.nrrd", volume(np.int16), Direction=(-1.0, 0, 0, 0, -1, 0, 0, 0, -1)
    ),
    "axes swapped": lambda p: write_sitk(
        p / "a_0000.nii.gz",
        volume(np.int16),
        Direction=(0.0, 0, 1, 1, 0, 0, 0, 1, 0),
        Spacing=(0.5, 1.5, 4.0),
    ),
    "2D with spacing": lambda p: write_sitk(
        p / "a_0000.nii.gz", volume(np.float32, (9, 7)), Spacing=(0.25, 0.4), Origin=(3.0, -4.0)
    ),
    "one slice": lambda p: write_sitk(
        p / "a_0000.nii.gz", volume(np.float32, (1, 9, 7)), Spacing=(1.0, 1.0, 5.0), Origin=(1.0, 2.0, 3.0)
    ),
    "4 mm gaps": lambda p: write_sitk(p / "a_0000.nii.gz", volume(np.float32), Spacing=(0.5, 0.5, 4.0)),
    "uint8": lambda p: write_sitk(p / "a_0000.nii.gz", volume(np.uint8), Spacing=(1.0, 1.0, 1.25)),
    "uint16 metaimage": lambda p: write_sitk(p / "a_0000.mha", volume(np.uint16), Spacing=(1.0, 2.0, 3.0)),
    "float64": lambda p: write_sitk(p / "a_0000.nii.gz", volume(np.float64), Origin=(0.1, 0.2, 0.3)),
    "RGB picture": lambda p: write_picture(p / "a_0000.png", volume(np.uint8, (9, 7, 3))),
}


@pytest.mark.parametrize("name", ODD)
def test_the_prediction_lies_exactly_where_its_image_does(
    fakes: SimpleNamespace, tmp_path: Path, name: str
) -> None:
    path = ODD[name](tmp_path)
    channels = 3 if name == "RGB picture" else 1
    plan = fakes.make_plan(
        normalization=("none",) * channels,
        normalize_inside_mask=(False,) * channels,
        spacing_mm=(1.0, 0.6, 0.7),
    )
    network = fakes.PixelNetwork(channels=channels)
    predictor = Predictor(
        [network], plan, plan.configuration("2d"), fakes.plain_labels(2), PredictorOptions(device="cpu")
    )
    report = predict_files(predictor, {"a": CaseFiles("a", (path,))}, tmp_path / "out")
    assert not report.failed
    written = tmp_path / "out" / f"a{label_ending(file_ending_of(path))}"
    found, expected = read_geometry(written), read_geometry(path)
    assert found == expected
    if path.suffix != ".png":
        image, label = (sitk.ReadImage(str(item)) for item in (path, written))
        for field in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(label, field)() == getattr(image, field)()
    if path.name.endswith(".nii.gz"):
        image, label = (nibabel.load(item).header for item in (path, written))
        for form in ("get_sform", "get_qform"):
            np.testing.assert_array_equal(getattr(label, form)(), getattr(image, form)())
