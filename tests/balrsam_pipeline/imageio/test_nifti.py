"""NIfTI voxels equal SimpleITK's and nibabel's; damage is noticed where ITK stays silent."""

from __future__ import annotations

import dataclasses
import gzip
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import read_geometry, read_image, read_label, write_label
from balrsam_pipeline.imageio.nifti import header_contradiction


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    generator = np.random.default_rng(0)
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(
        sitk.GetImageFromArray(generator.integers(-1000, 1000, (7, 8, 9)).astype(np.int16)), str(path)
    )
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "found", "fix"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS", "git lfs pull"),
        (b"/annex/objects/SHA256E-s9--0.nii.gz\n", "git-annex", "datalad get"),
        (b"<!DOCTYPE html><html><body>log in</body></html>" * 10, "a web page", "log in"),
        (b"something else" * 40, "something else", "leave the case out"),
        (b"", "an empty file", "leave the case out"),
        (b"\x89PNG\r\n\x1a\n" + bytes(400), "a PNG", "save it as NIfTI"),
    ],
)
def test_what_lies_in_a_volumes_place_is_named(
    tmp_path: Path, content: bytes, found: str, fix: str, packed: bool
) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ImageError, match=f"no NIfTI but {found if found[0] == 'a' else ''}") as refused:
        read_image([path])
    assert found in refused.value.found and fix in refused.value.fix


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_voxels_and_type_equal_simpleitks(tmp_path: Path, dtype: type, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(
        sitk.GetImageFromArray((np.random.default_rng(0).random((4, 5, 6)) * 100).astype(dtype)), str(path)
    )
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    image = read_image([path])
    assert image.data.dtype == expected.dtype
    np.testing.assert_array_equal(image.data[0], expected)


def test_real_volumes_equal_simpleitks(test_data: Path) -> None:
    for path in sorted((test_data / "multi_organ_ct").glob("*.nii.gz")):
        reference = sitk.ReadImage(str(path))
        image = read_image([path])
        np.testing.assert_array_equal(image.data[0], sitk.GetArrayFromImage(reference))
        assert image.geometry.spacing_mm == reference.GetSpacing()[::-1]
        assert image.geometry.origin_mm == reference.GetOrigin()
        assert image.geometry.direction == reference.GetDirection()
        assert read_geometry(path) == image.geometry


CHANGES: dict[str, object] = {
    "dim": [3, 4, 3, 2, 1, 1, 1, 1],
    "pixdim": [-1, 2, 3, 4, 1, 1, 1, 1],
    "qform_code": 0,
    "sform_code": 0,
    "quatern_b": 0.5,
    "quatern_c": 0.5,
    "quatern_d": 0.5,
    "qoffset_x": 7,
    "qoffset_y": 7,
    "qoffset_z": 7,
    "srow_x": [2, 0, 0, 9],
    "srow_y": [0, -3, 0, 9],
    "srow_z": [0, 0, 4, 9],
    "xyzt_units": 1,
    "dim_info": 57,
    "slice_code": 1,
    "intent_code": 1002,
    "toffset": 3,
    "cal_max": 5,
    "scl_slope": 2,
    "datatype": 512,
}


@pytest.mark.parametrize("codes", [(1, 1), (0, 1), (1, 0), (2, 4)])
def test_every_header_has_the_geometry_that_simpleitk_gives_it(
    tmp_path: Path, codes: tuple[int, int]
) -> None:
    header = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.diag([2.0, 3.0, 4.0, 1.0])).header
    header["qform_code"], header["sform_code"] = codes
    for name, value in {
        "dim": header["dim"],
        **CHANGES,
    }.items():  # one after the other: what was read before must not matter
        changed = header.copy()
        changed[name] = value
        path = tmp_path / f"{name}.nii"
        path.write_bytes(changed.binaryblock + bytes(4 + 48))
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        found = read_geometry(path)
        assert found.shape_zyx == reader.GetSize()[::-1], name
        assert found.spacing_mm == reader.GetSpacing()[::-1], name
        assert found.origin_mm == reader.GetOrigin(), name
        assert found.direction == reader.GetDirection(), name


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nifti = nib.Nifti1Image(stored, np.eye(4))
    nifti.header.set_slope_inter(2.0, -1024.0)
    nib.save(nifti, tmp_path / "a.nii.gz")
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "a.nii.gz")))
    np.testing.assert_allclose(read_image([tmp_path / "a.nii.gz"]).data[0], expected)


def test_big_endian_and_nifti_2_and_several_gzip_members_are_read(tmp_path: Path) -> None:
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    nib.save(
        nib.Nifti1Image(stored.astype(">i2"), np.eye(4), nib.Nifti1Header(endianness=">")),
        tmp_path / "big.nii.gz",
    )
    nib.save(nib.Nifti2Image(stored, np.eye(4)), tmp_path / "two.nii.gz")
    content = gzip.decompress((tmp_path / "two.nii.gz").read_bytes())
    (tmp_path / "members.nii.gz").write_bytes(
        gzip.compress(content[:400]) + gzip.compress(content[400:]) + gzip.compress(b"")
    )
    for name in ("big", "two", "members"):
        np.testing.assert_array_equal(read_image([tmp_path / f"{name}.nii.gz"]).data[0].T, stored)


def test_a_trailing_axis_of_one_is_dropped(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 1), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    image = read_image([tmp_path / "a.nii.gz"])
    assert image.data.shape == (1, 6, 5, 4)
    assert image.geometry.dimension == 3


@pytest.mark.parametrize(("endianness", "ending"), [("<", ".nii.gz"), (">", ".nii")])
def test_a_label_takes_over_the_spatial_fields_of_its_image_bit_for_bit(
    tmp_path: Path, endianness: str, ending: str
) -> None:
    affine = np.array(
        [[-0.7, 0.1, 0.01, 31.1], [0.1, 0.8, 0.03, -7.7], [0.02, -0.04, 2.5, 1 / 3], [0, 0, 0, 1]]
    )  # sheared too
    source = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), affine, nib.Nifti1Header(endianness=endianness))
    source.header.set_qform(np.diag([2.0, 3.0, 4.0, 1.0]), 1)
    source.header.set_slope_inter(2.0, -1.0)
    nib.save(source, tmp_path / "a.nii.gz")
    geometry, label = read_geometry(tmp_path / "a.nii.gz"), np.arange(120, dtype=np.int16).reshape(6, 5, 4)
    write_label(tmp_path / f"b{ending}", label, geometry, like=tmp_path / "a.nii.gz")
    first, second = nib.load(tmp_path / "a.nii.gz").header, nib.load(tmp_path / f"b{ending}").header
    for field in (
        "pixdim",
        "srow_x",
        "srow_y",
        "srow_z",
        "quatern_b",
        "quatern_c",
        "quatern_d",
        "qoffset_x",
        "sform_code",
        "qform_code",
    ):
        np.testing.assert_array_equal(second[field], first[field])
    assert read_geometry(tmp_path / f"b{ending}") == geometry
    np.testing.assert_array_equal(read_label(tmp_path / f"b{ending}").data[0], label)


def test_a_file_of_another_geometry_lends_no_header(tmp_path: Path, volume: Path) -> None:
    geometry = dataclasses.replace(read_geometry(volume), origin_mm=(1.0, 2.0, 3.0))
    write_label(tmp_path / "b.nii.gz", np.zeros(geometry.shape_zyx, np.uint8), geometry, like=volume)
    assert read_geometry(tmp_path / "b.nii.gz") == geometry


def test_four_axes_are_refused_with_the_way_out(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 2), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    for read in (lambda path: read_image([path]), read_geometry):
        with pytest.raises(ImageError, match="4 axes") as caught:
            read(tmp_path / "a.nii.gz")
        assert "balrsam convert" in caught.value.fix


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: content[: len(content) // 2] + bytes(40) + content[len(content) // 2 + 40 :],
        lambda content: b"",
        lambda content: b"hello",
        lambda content: gzip.compress(b"no image"),
        lambda content: gzip.compress(gzip.decompress(content)[:-10]),
        lambda content: gzip.decompress(content)[:-10],
    ],
    ids=[
        "half",
        "no end",
        "hole",
        "empty",
        "text",
        "gzipped text",
        "voxels missing",
        "uncompressed, voxels missing",
    ],
)
def test_a_damaged_file_is_named(volume: Path, damage: object, capfd: pytest.CaptureFixture[str]) -> None:
    volume.write_bytes(damage(volume.read_bytes()))  # type: ignore[operator]
    with pytest.raises(ImageError) as caught:
        read_image([volume])
    assert caught.value.where == str(volume)
    assert caught.value.fix
    assert capfd.readouterr().err == ""


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    for read in (lambda path: read_image([path]), read_geometry):
        with pytest.raises(ImageError, match="no such file"):
            read(tmp_path / "a.nii.gz")


def packed(path: Path, *members: bytes) -> Path:
    """A gzip file of several members."""
    path.write_bytes(b"".join(gzip.compress(member) for member in members))
    return path


@pytest.mark.parametrize("cut", [1, 348, 400, 4000])
def test_gzip_members_may_end_anywhere(tmp_path: Path, cut: int) -> None:
    array = np.random.default_rng(0).integers(0, 1000, (20, 21, 22)).astype(np.int16)
    content = nib.Nifti1Image(array, np.eye(4)).to_bytes()
    path = packed(tmp_path / "a.nii.gz", content[:cut], content[cut:], b"")
    np.testing.assert_array_equal(read_image([path]).data[0], array.T)
    assert read_geometry(path).shape_zyx == (22, 21, 20)
    for odd_size in (7, 64, 1000):
        members = [content[start : start + odd_size] for start in range(0, len(content), odd_size)]
        np.testing.assert_array_equal(read_image([packed(path, *members)]).data[0], array.T)


def test_padding_behind_the_voxels_is_passed_over(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    content = nib.Nifti1Image(array, np.eye(4)).to_bytes()
    path = packed(tmp_path / "a.nii.gz", content + bytes(1000))
    path.write_bytes(path.read_bytes() + bytes(512))
    np.testing.assert_array_equal(read_image([path]).data[0], array.T)


@pytest.mark.parametrize("members", [1, 2])
def test_no_more_is_unpacked_than_the_header_announces(tmp_path: Path, members: int) -> None:
    content = nib.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4)).to_bytes()
    tail = bytes(2**25)
    path = packed(tmp_path / "a.nii.gz", *([content + tail] if members == 1 else [content, tail]))
    tracemalloc.start()
    with pytest.raises(ImageError, match="1 MiB packed behind the 472 bytes"):
        read_image([path])
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_damaged_checksum_behind_the_voxels_is_noticed(tmp_path: Path) -> None:
    content = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4)).to_bytes()
    whole = bytearray(gzip.compress(content))
    whole[-7] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(whole)
    with pytest.raises(ImageError, match="damaged gzip"):
        read_image([tmp_path / "a.nii.gz"])


def test_complex_voxels_are_named(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.ones((3, 4, 5), np.complex64), np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(ImageError, match="complex voxels"):
        read_image([tmp_path / "a.nii.gz"])


@pytest.mark.parametrize("inter", [0.0, 1e9])
def test_a_scale_does_not_swallow_small_steps(tmp_path: Path, inter: float) -> None:
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.eye(4))
    image.header.set_slope_inter(0.5, inter)
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]))
    header["scl_slope"], header["scl_inter"] = 0.5, inter
    content[:348] = header.binaryblock
    (tmp_path / "a.nii").write_bytes(content)
    assert len(np.unique(read_image([tmp_path / "a.nii"]).data)) == 60


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint16])
@pytest.mark.parametrize("largest", [2, 3, 117])
def test_labels_stored_with_a_scale_are_rounded_within_the_stored_step(
    tmp_path: Path, dtype: type, largest: int
) -> None:
    label = np.random.default_rng(0).integers(0, largest + 1, (7, 8, 9))
    label[0, 0, :2] = 0, largest
    image = nib.Nifti1Image(label.astype(np.float64), np.eye(4))
    image.set_data_dtype(dtype)
    nib.save(image, tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").dataobj.slope != 1  # nibabel scaled it
    np.testing.assert_array_equal(read_label(tmp_path / "a.nii.gz").data[0], label.T)


def test_probabilities_stored_with_a_scale_are_no_labels(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.random.default_rng(0).random((7, 8, 9)), np.eye(4))
    image.set_data_dtype(np.uint8)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(ImageError, match="no whole numbers"):
        read_label(tmp_path / "a.nii.gz")


def test_an_sform_that_is_not_finite_is_named(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4))
    image.set_qform(np.eye(4), 1)
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    header["sform_code"], header["srow_x"] = 1, np.nan
    content[:348] = header.binaryblock
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.nii"):
        read_geometry(tmp_path / "a.nii")


def test_an_sform_that_contradicts_pixdim_is_described(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.diag([0.5, 0.5, 2.0, 1.0]))
    nib.save(image, tmp_path / "sound.nii")
    assert header_contradiction(tmp_path / "sound.nii") is None
    image.header["pixdim"][1:4] = 1
    nib.save(image, tmp_path / "a.nii")
    assert header_contradiction(tmp_path / "a.nii") == (
        "voxels of 0.5 × 0.5 × 2 mm by its sform and of 1 × 1 × 1 mm by its pixdim (x, y, z)"
    )


@pytest.mark.parametrize("size", [np.nan, 0.0, np.inf])
def test_a_missing_voxel_size_is_described(tmp_path: Path, size: float) -> None:
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4))
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    header["sform_code"], header["pixdim"][2] = 0, size
    content[:348] = header.binaryblock
    (tmp_path / "a.nii").write_bytes(content)
    assert "no voxel size" in str(header_contradiction(tmp_path / "a.nii"))


@pytest.mark.parametrize(("unit", "per_mm"), [("meter", 0.001), ("mm", 1.0), ("micron", 1000.0)])
@pytest.mark.parametrize(("kind", "shear"), [(nib.Nifti1Image, 0.2), (nib.Nifti2Image, 0.0)])
def test_lengths_are_in_the_units_that_the_header_names(
    tmp_path: Path, unit: str, per_mm: float, kind: type, shear: float
) -> None:
    """Also where ITK refuses the header: sheared axes, NIfTI-2."""
    affine = np.array([[2.0, 0.0, shear, 10.0], [0.0, 2.0, 0.0, 20.0], [0.0, 0.0, 3.0, 30.0]]) * per_mm
    image = kind(np.zeros((4, 5, 6), np.int16), np.vstack([affine, [0, 0, 0, 1]]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")
    geometry = read_geometry(tmp_path / "a.nii")
    assert geometry.spacing_mm == pytest.approx((np.hypot(3.0, shear), 2.0, 2.0), rel=1e-5)
    assert geometry.origin_mm == pytest.approx((-10.0, -20.0, 30.0), rel=1e-5)


FLIPPED = np.array([[-1.0, 0, 0, 40], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
MOVED = np.array([[1.0, 0, 0, 100], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
TILTED = np.array([[1.0, 0, 0, 0], [0, 1, 0.5, 0], [0, 0, 2, 0], [0, 0, 0, 1]])  # what no qform can say


@pytest.mark.parametrize(
    ("sform", "codes", "found"),
    [
        (FLIPPED, (1, 1), "LAS by its sform and RAS by its qform"),
        (MOVED, (1, 1), "(100, 0, 0) mm by its sform and at (0, 0, 0) mm by its qform"),
        (FLIPPED, (1, 4), None),  # one in the scanner, one in an atlas
        (TILTED, (1, 1), None),
        (np.diag([1.0, 1, 2, 1]) + 1e-4 * np.eye(4, k=3), (1, 1), None),
    ],
)
def test_an_sform_that_places_voxels_otherwise_than_the_qform_is_described(
    tmp_path: Path, sform: np.ndarray, codes: tuple[int, int], found: str | None
) -> None:
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4))
    image.set_qform(np.diag([1.0, 1, 2, 1]), codes[0])
    image.set_sform(sform, codes[1])
    image.header["pixdim"][1:4] = np.linalg.norm(sform[:3, :3], axis=0)
    nib.save(image, tmp_path / "a.nii")
    said = header_contradiction(tmp_path / "a.nii")
    assert said is None if found is None else found in str(said)


def test_a_qform_that_cannot_be_computed_contradicts_nothing(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4))
    image.set_qform(np.eye(4), 1)
    image.set_sform(np.eye(4), 1)
    content = bytearray(image.to_bytes())
    header = nib.Nifti1Header(bytes(content[:348]), check=False)
    header["quatern_b"] = 3.0
    content[:348] = header.binaryblock
    (tmp_path / "a.nii").write_bytes(content)
    assert header_contradiction(tmp_path / "a.nii") is None
