"""Voxel order is not anatomy: volumes are turned by their headers, and by nothing else."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.imageio import Geometry, Image, picture_geometry, read_image, write_image
from balrsam_pipeline.imageio.simpleitk_io import reoriented
from balrsam_pipeline.imageio.turning import laid_on, turn_to

CODES = [
    "".join(letters)
    for axes in itertools.permutations(("LR", "PA", "SI"))
    for letters in itertools.product(*axes)
]


def volume(shape: tuple[int, int, int] = (3, 4, 5)) -> Image:
    data = np.random.default_rng(0).integers(0, 1000, (1, *shape)).astype(np.int16)
    return Image(
        data,
        Geometry(dimension=3, shape_zyx=shape, spacing_mm=(3.0, 2.0, 1.0), origin_mm=(10.0, -20.0, 30.0)),
    )


@pytest.mark.parametrize("code", CODES)
def test_turning_to_each_orientation_is_what_itk_does(code: str) -> None:
    image = volume()
    expected = reoriented(image, code)
    turn = turn_to(image.geometry, code)
    turned = image if turn is None else turn.image(image)
    np.testing.assert_array_equal(turned.data, expected.data)
    assert turned.geometry.orientation == code
    np.testing.assert_allclose(turned.geometry.origin_mm, expected.geometry.origin_mm)
    np.testing.assert_allclose(turned.geometry.direction, expected.geometry.direction)
    assert turned.geometry.spacing_mm == expected.geometry.spacing_mm
    if turn is not None:
        np.testing.assert_array_equal(turn.back(turned.data), image.data)


@pytest.mark.parametrize("code", CODES)
def test_a_channel_stored_in_another_order_is_laid_onto_the_first_by_its_header(code: str) -> None:
    image = volume()
    stored = reoriented(image, code)
    np.testing.assert_array_equal(laid_on(stored, image.geometry).data, image.data)


def test_a_channel_whose_header_does_not_fit_stays_as_it_is_stored() -> None:
    image = volume((4, 4, 4))
    moved = reoriented(
        Image(image.data, Geometry(dimension=3, shape_zyx=(4, 4, 4), spacing_mm=(3.0, 2.0, 1.0))), "RAS"
    )
    assert laid_on(moved, image.geometry) is moved


def test_pictures_are_never_turned() -> None:
    picture = Geometry(dimension=2, shape_zyx=(1, 4, 5), spacing_mm=(999.0, 1.0, 1.0))
    assert turn_to(picture, "RAS") is None


def test_channels_in_different_places_are_named_in_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = volume()
    elsewhere = Geometry(
        dimension=3, shape_zyx=(3, 4, 5), spacing_mm=(3.0, 2.0, 1.0), origin_mm=(90.0, 60.0, 110.0)
    )
    write_image(tmp_path / "far_0000.nii.gz", first)
    write_image(tmp_path / "far_0001.nii.gz", Image(first.data, elsewhere))
    read_image([tmp_path / "far_0000.nii.gz", tmp_path / "far_0001.nii.gz"])
    assert "far_0001.nii.gz" in caplog.text
    assert "mm apart" in caplog.text


FLAT = np.random.default_rng(0).integers(0, 100, (5, 7)).astype(np.int16)


def write_flat(
    path: Path, origin: tuple[float, ...], direction: tuple[float, ...], flat_yx: np.ndarray
) -> Path:
    image = sitk.GetImageFromArray(flat_yx)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    image.SetSpacing((0.5, 2.0) if direction[0] else (2.0, 0.5))
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("ending", [".mha", ".nii.gz", ".nrrd"])
@pytest.mark.parametrize(
    ("origin", "direction", "stored"),
    [
        ((3.0, 0.0), (-1.0, 0.0, 0.0, 1.0), FLAT[:, ::-1]),
        ((3.0, 8.0), (-1.0, 0.0, 0.0, -1.0), FLAT[::-1, ::-1]),
        ((0.0, 8.0), (0.0, 1.0, -1.0, 0.0), FLAT[::-1].T),
    ],
    ids=["mirrored", "turned by 180 degrees", "turned by 90 degrees"],
)
def test_a_2d_channel_is_laid_onto_the_first_by_its_header(
    tmp_path: Path,
    ending: str,
    origin: tuple[float, ...],
    direction: tuple[float, ...],
    stored: np.ndarray,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = write_flat(tmp_path / f"c_0000{ending}", (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), FLAT)
    second = write_flat(tmp_path / f"c_0001{ending}", origin, direction, stored.copy())
    itk = sitk.Resample(sitk.ReadImage(str(second)), sitk.ReadImage(str(first)), sitk.Transform())
    np.testing.assert_array_equal(sitk.GetArrayFromImage(itk), FLAT)
    image = read_image([first, second])
    np.testing.assert_array_equal(image.data[:, 0], [FLAT, FLAT])
    assert not caplog.records


def test_2d_channels_in_different_places_are_named_but_those_without_a_header_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upright = (1.0, 0.0, 0.0, 1.0)
    first = write_flat(tmp_path / "c_0000.mha", (0.0, 0.0), upright, FLAT)
    for origin, direction in (((500.0, 0.0), upright), ((90.0, 0.0), (-1.0, 0.0, 0.0, 1.0))):
        caplog.clear()
        read_image([first, write_flat(tmp_path / "c_0001.mha", origin, direction, FLAT)])
        assert "c_0001.mha" in caplog.text and f"{origin[0]:g} mm apart" in caplog.text
    caplog.clear()
    image = sitk.GetImageFromArray(FLAT)
    image.SetOrigin((70.0, 0.0))
    sitk.WriteImage(image, str(tmp_path / "d_0000.mha"))
    write_image(
        tmp_path / "d_0001.png", Image(FLAT[None, None].astype(np.uint8), picture_geometry(*FLAT.shape))
    )
    read_image([tmp_path / "d_0000.mha", tmp_path / "d_0001.png"])
    assert not caplog.records
