"""Channels of a case must share a grid; labels are whole numbers; what is written is small and whole."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import (
    ALL_ENDINGS,
    Geometry,
    Image,
    picture_geometry,
    read_geometry,
    read_image,
    read_label,
    write_image,
    write_label,
)

GRID = Geometry(dimension=3, shape_zyx=(3, 4, 5), spacing_mm=(2.0, 1.0, 1.0))


def test_channels_are_stacked_in_order_and_keep_the_widest_type(tmp_path: Path) -> None:
    write_image(tmp_path / "0.nii.gz", Image(np.full((1, 3, 4, 5), 7, np.uint8), GRID))
    write_image(tmp_path / "1.nii.gz", Image(np.full((1, 3, 4, 5), -900, np.int16), GRID))
    image = read_image([tmp_path / "0.nii.gz", tmp_path / "1.nii.gz"])
    assert image.data.dtype == np.int16
    assert image.data[:, 0, 0, 0].tolist() == [7, -900]


@pytest.mark.parametrize(
    "other",
    [
        Geometry(dimension=3, shape_zyx=(3, 4, 6), spacing_mm=(2.0, 1.0, 1.0)),
        Geometry(dimension=3, shape_zyx=(3, 4, 5), spacing_mm=(2.5, 1.0, 1.0)),
    ],
    ids=["shape", "spacing"],
)
def test_channels_on_different_grids_are_refused(tmp_path: Path, other: Geometry) -> None:
    write_image(tmp_path / "0.nii.gz", Image(np.zeros((1, *GRID.shape_zyx), np.uint8), GRID))
    write_image(tmp_path / "1.nii.gz", Image(np.zeros((1, *other.shape_zyx), np.uint8), other))
    with pytest.raises(ImageError, match=r"1\.nii\.gz"):
        read_image([tmp_path / "0.nii.gz", tmp_path / "1.nii.gz"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint8])
def test_a_label_of_whole_numbers_is_read_whatever_its_type(tmp_path: Path, dtype: type) -> None:
    write_image(tmp_path / "a.nii.gz", Image(np.full((1, 3, 4, 5), 3, dtype), GRID))
    label = read_label(tmp_path / "a.nii.gz").data
    assert label.dtype == np.uint8 or label.dtype == dtype
    assert label.dtype.kind in "ui"
    assert (label == 3).all()


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf, 70000.0])
def test_a_label_that_is_no_whole_number_is_refused(tmp_path: Path, value: float) -> None:
    voxels = np.zeros((1, 3, 4, 5), np.float32)
    voxels[0, 1, 2, 3] = value
    write_image(tmp_path / "a.nii.gz", Image(voxels, GRID))
    with pytest.raises(ImageError, match="label values"):
        read_label(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(
    ("largest", "expected"), [(1, sitk.sitkUInt8), (255, sitk.sitkUInt8), (256, sitk.sitkUInt16)]
)
def test_a_label_is_written_as_the_smallest_type(tmp_path: Path, largest: int, expected: int) -> None:
    write_label(tmp_path / "a.nii.gz", np.full((3, 4, 5), largest, np.int64), GRID)
    assert sitk.ReadImage(str(tmp_path / "a.nii.gz")).GetPixelID() == expected


@pytest.mark.parametrize("ending", [ending for ending, form in ALL_ENDINGS.items() if not form.lossy])
def test_a_label_survives_every_format(tmp_path: Path, ending: str) -> None:
    flat = ending in (".png", ".bmp")
    geometry = Geometry(dimension=2, shape_zyx=(1, 4, 5), spacing_mm=(999.0, 1.0, 1.0)) if flat else GRID
    label = np.random.default_rng(0).integers(0, 4, geometry.shape_zyx)
    write_label(tmp_path / f"a{ending}", label, geometry)
    np.testing.assert_array_equal(read_label(tmp_path / f"a{ending}").data[0], label)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ImageError):
        write_image(tmp_path / "a.png", Image(np.zeros((1, 3, 4, 5), np.uint8), GRID))
    with pytest.raises(ImageError, match="voxels of shape"):
        write_label(tmp_path / "a.nii.gz", np.zeros((1, 1, 1)), GRID)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"\.nii\.gz, \.nii, \.mha"):
        read_image([tmp_path / "a.xyz"])


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
@pytest.mark.parametrize("damage", ["half", "hole"])
def test_damaged_compressed_voxels_are_noticed(tmp_path: Path, ending: str, damage: str) -> None:
    path = tmp_path / f"a{ending}"
    write_image(
        path, Image(np.random.default_rng(0).integers(0, 99, (1, 30, 40, 50)).astype(np.int16), GRID_LARGE)
    )
    content, middle = path.read_bytes(), path.stat().st_size // 2
    path.write_bytes(
        content[:middle] if damage == "half" else content[:middle] + bytes(40) + content[middle + 40 :]
    )
    with pytest.raises(ImageError, match=f"a{ending}"):
        read_image([path])


GRID_LARGE = Geometry(dimension=3, shape_zyx=(30, 40, 50), spacing_mm=(2.0, 1.0, 1.0))


def test_the_components_of_a_vector_image_are_channels(tmp_path: Path) -> None:
    voxels = np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5)
    write_image(tmp_path / "a.nrrd", Image(voxels, GRID))
    np.testing.assert_array_equal(read_image([tmp_path / "a.nrrd"]).data, voxels)


@pytest.mark.parametrize("ending", [".mha", ".nrrd", ".nii.gz", ".tif"])
def test_floats_next_to_whole_numbers_are_labels(tmp_path: Path, ending: str) -> None:
    values = np.array([0, 0.99999994, 2.0000002, 3]).reshape(1, 2, 2).astype(np.float32)
    write_image(tmp_path / f"a{ending}", Image(values[None], picture_geometry(2, 2)))
    assert read_label(tmp_path / f"a{ending}").data.ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("ending", ALL_ENDINGS)
def test_a_file_name_that_is_not_utf8_is_named_before_a_library_sees_it(tmp_path: Path, ending: str) -> None:
    path = tmp_path / os.fsdecode(b"zw\xf6lf" + ending.encode())
    path.write_bytes(b"x")
    for read in (read_label, read_geometry, lambda path: read_image([path])):
        with pytest.raises(ImageError, match=r"zw\\udcf6lf.*\n.*not UTF-8"):
            read(path)


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd", ".gipl"])
@pytest.mark.parametrize("dtype", ["float16", ">i2", ">f4", "bool"])
def test_types_that_itk_does_not_know_are_written_as_the_next_that_holds_them(
    tmp_path: Path, ending: str, dtype: str
) -> None:
    voxels = (np.arange(60).reshape(1, 3, 4, 5) / (2 if "f" in dtype else 1)).astype(dtype)
    write_image(tmp_path / f"a{ending}", Image(voxels, GRID))
    found = read_image([tmp_path / f"a{ending}"]).data
    np.testing.assert_array_equal(found, voxels)
    assert found.dtype.kind == ("u" if dtype == "bool" else voxels.dtype.kind)


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_whole_numbers_that_gipl_does_not_hold_are_no_matter_of_the_disk(tmp_path: Path, dtype: type) -> None:
    with pytest.raises(ImageError, match=f"{np.dtype(dtype)} voxels") as refused:
        write_image(tmp_path / "a.gipl", Image(np.ones((1, 3, 4, 5), dtype), GRID))
    assert "disk" not in refused.value.fix and ".nii.gz" in refused.value.fix
    assert list(tmp_path.iterdir()) == []


PLACED = replace(GRID, origin_mm=(5.0, 6.0, 7.0))
TURNED = replace(PLACED, direction=(0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("geometry", [GRID, PLACED, TURNED])
@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd", ".gipl", ".tif", ".npz"])
def test_a_place_that_a_format_does_not_hold_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str, geometry: Geometry
) -> None:
    """What is read again is the oracle."""
    path = tmp_path / f"a{ending}"
    write_label(path, np.ones((3, 4, 5)), geometry)
    found = read_geometry(path)
    lost = [name for name in ("direction", "origin_mm") if getattr(found, name) != getattr(geometry, name)]
    assert [name for name in ("direction", "origin_mm") if name.removesuffix("_mm") in caplog.text] == lost
    assert (path.name in caplog.text) == bool(lost)
