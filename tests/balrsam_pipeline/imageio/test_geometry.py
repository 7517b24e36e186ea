"""Geometry survives a round trip through every format, and says where it lies as SimpleITK does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from balrsam_pipeline.imageio import (
    Geometry,
    Image,
    read_geometry,
    read_image,
    read_label,
    write_image,
    write_label,
)
from balrsam_pipeline.imageio.geometry import (
    direction_differs,
    orientation_code,
    origin_differs,
    spacing_differs,
)

MEDICAL = (".nii.gz", ".nii", ".mha", ".nrrd")
positions = st.floats(-500, 500, allow_nan=False, width=32)
spacings = st.floats(0.125, 8.0, allow_nan=False, width=32)
angles = st.floats(-180, 180, allow_nan=False)
flips = st.sampled_from([1.0, -1.0])


def volume_geometry(
    angles_deg: tuple[float, float, float], flip: tuple[float, float, float], **others: object
) -> Geometry:
    matrix = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix() * np.array(flip)
    chosen = {
        "shape_zyx": (3, 4, 5),
        "spacing_mm": (4.0, 0.5, 0.75),
        "origin_mm": (10.0, -20.5, 300.25),
    } | others
    return Geometry(dimension=3, direction=tuple(float(value) for value in matrix.ravel()), **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", MEDICAL)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles_deg=st.tuples(angles, angles, angles),
    flip=st.tuples(flips, flips, flips),
    spacing_mm=st.tuples(spacings, spacings, spacings),
    origin_mm=st.tuples(positions, positions, positions),
)
def test_a_label_written_with_an_images_geometry_reads_back_with_the_same(
    tmp_path: Path, ending: str, angles_deg: tuple, flip: tuple, spacing_mm: tuple, origin_mm: tuple
) -> None:
    wanted = volume_geometry(angles_deg, flip, spacing_mm=spacing_mm, origin_mm=origin_mm)
    write_image(tmp_path / f"image{ending}", Image(np.zeros((1, 3, 4, 5), np.int16), wanted))
    image = read_image([tmp_path / f"image{ending}"])
    write_label(tmp_path / f"label{ending}", np.ones((3, 4, 5)), image.geometry)
    label = read_geometry(tmp_path / f"label{ending}")
    # NIfTI keeps 32-bit numbers: what was read once must be kept to the last of their bits, MHA and NRRD keep
    # 64
    assert label.shape_zyx == image.geometry.shape_zyx
    np.testing.assert_allclose(label.spacing_mm, image.geometry.spacing_mm, rtol=1.2e-7)
    np.testing.assert_allclose(label.origin_mm, image.geometry.origin_mm, rtol=1.2e-7, atol=1e-5)
    np.testing.assert_allclose(label.direction, image.geometry.direction, atol=3e-7)
    np.testing.assert_allclose(image.geometry.direction, wanted.direction, atol=1e-6)


@pytest.mark.parametrize("ending", MEDICAL)
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)])
def test_axis_aligned_geometry_survives_bit_for_bit(tmp_path: Path, ending: str, flip: tuple) -> None:
    wanted = volume_geometry((0, 0, 0), flip)
    write_image(tmp_path / f"image{ending}", Image(np.zeros((1, 3, 4, 5), np.uint8), wanted))
    assert read_image([tmp_path / f"image{ending}"]).geometry == wanted
    assert read_geometry(tmp_path / f"image{ending}") == wanted


@settings(max_examples=60, deadline=None)
@given(angles_deg=st.tuples(angles, angles, angles), flip=st.tuples(flips, flips, flips))
def test_the_orientation_code_is_simpleitks(angles_deg: tuple, flip: tuple) -> None:
    direction = volume_geometry(angles_deg, flip).direction
    strongest = np.sort(np.abs(np.array(direction)))[::-1]
    if np.min(np.abs(np.diff(strongest[:3]))) < 1e-3 and len(set(np.round(strongest, 3))) > 2:
        return  # two axes equally near: either code is right
    expected = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)
    assert orientation_code(direction) == expected


def test_a_2d_nifti_keeps_its_spacing_and_dimension(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(np.arange(20, dtype=np.uint8).reshape(4, 5))
    image.SetSpacing((0.25, 0.5))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    read = read_image([tmp_path / "a.nii.gz"])
    assert read.data.shape == (1, 1, 4, 5)
    assert read.geometry.spacing_mm == (499.5, 0.5, 0.25)
    assert read.geometry.orientation == "2D"
    write_label(tmp_path / "b.nii.gz", read.data[0], read.geometry)
    assert sitk.ReadImage(str(tmp_path / "b.nii.gz")).GetSpacing() == (0.25, 0.5)


@pytest.mark.parametrize("ending", MEDICAL)
def test_a_volume_of_one_slice_stays_a_volume(tmp_path: Path, ending: str) -> None:
    geometry = volume_geometry((0, 0, 0), (1, 1, 1), shape_zyx=(1, 4, 5))
    write_label(tmp_path / f"a{ending}", np.ones((1, 4, 5)), geometry)
    assert read_label(tmp_path / f"a{ending}").geometry == geometry


def test_sheared_nifti_that_simpleitk_refuses_is_read_and_written_unchanged(tmp_path: Path) -> None:
    import nibabel as nib

    affine = np.array([[1.0, 0.3, 0, -10], [0, 1.0, 0, 5], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    nifti = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), affine)
    nifti.header.set_qform(affine, code=0, strip_shears=True)
    nib.save(nifti, tmp_path / "a.nii.gz")
    with pytest.raises(RuntimeError):
        sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    image = read_image([tmp_path / "a.nii.gz"])
    write_label(tmp_path / "b.nii.gz", image.data[0] % 3, image.geometry)
    written = nib.load(tmp_path / "b.nii.gz")
    np.testing.assert_allclose(written.affine, affine, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(nifti.dataobj) % 3)


def test_differences_within_tolerance_do_not_count() -> None:
    first = volume_geometry((0, 0, 0), (1, 1, 1))
    near = volume_geometry(
        (0.01, 0, 0), (1, 1, 1), spacing_mm=(4.001, 0.5, 0.75), origin_mm=(10.003, -20.5, 300.25)
    )
    far = volume_geometry((5, 0, 0), (1, 1, 1), spacing_mm=(4.1, 0.5, 0.75), origin_mm=(10.3, -20.5, 300.25))
    for differs in (spacing_differs, origin_differs, direction_differs):
        assert not differs(first, near)
        assert differs(first, far)
