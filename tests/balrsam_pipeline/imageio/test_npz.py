"""`.npz` files of the CVPR challenges; the oracle is NumPy, which writes and opens them as they do."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import (
    Geometry,
    Image,
    images_among,
    read_geometry,
    read_image,
    read_label,
    write_image,
    write_label,
)

VOLUME = Geometry(dimension=3, shape_zyx=(3, 5, 4), spacing_mm=(2.5, 0.8, 0.7))
VOXELS = np.random.default_rng(0).integers(0, 255, VOLUME.shape_zyx).astype(np.uint8)


def saved(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_a_volume_is_read_with_its_spacing_of_x_y_z(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", imgs=VOXELS, gts=VOXELS % 3, spacing=(0.7, 0.8, 2.5))
    image = read_image([path])
    np.testing.assert_array_equal(image.data, VOXELS[None])
    assert image.geometry == read_geometry(path) == VOLUME
    np.testing.assert_array_equal(read_label(path).data[0], VOXELS % 3)


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)], ids=["grey", "colours"])
def test_a_picture_is_read_as_one(shape: tuple[int, ...], tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, shape).astype(np.uint8)
    image = read_image([saved(tmp_path / "a.npz", imgs=pixels)])
    assert image.geometry.dimension == 2 and image.geometry.shape_zyx == (1, 5, 4)
    np.testing.assert_array_equal(np.moveaxis(image.data[:, 0], 0, -1).reshape(shape), pixels)


def test_arrays_stored_by_columns_and_of_bits_are_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npz", imgs=np.asfortranarray(VOXELS), gts=VOXELS > 100, spacing=(1, 1, 1))
    np.testing.assert_array_equal(read_image([path]).data[0], VOXELS)
    np.testing.assert_array_equal(read_label(path).data[0], VOXELS > 100)


def test_a_label_map_is_written_as_segs_and_an_image_as_imgs(tmp_path: Path) -> None:
    write_label(tmp_path / "a.npz", VOXELS % 3, VOLUME)
    with np.load(tmp_path / "a.npz") as opened:
        assert set(opened.files) == {"segs", "spacing"}
        np.testing.assert_array_equal(opened["segs"], VOXELS % 3)
        assert opened["segs"].dtype == np.uint8 and opened["spacing"].tolist() == [0.7, 0.8, 2.5]
    assert read_label(tmp_path / "a.npz").geometry == VOLUME
    flat = Geometry(dimension=2, shape_zyx=(1, 5, 4), spacing_mm=(999.0, 1.0, 1.0))
    write_image(tmp_path / "b.npz", Image(np.zeros((3, 1, 5, 4), np.uint8), flat))
    with np.load(tmp_path / "b.npz") as opened:
        assert opened.files == ["imgs"] and opened["imgs"].shape == (5, 4, 3)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"data": VOXELS}, "the arrays data"),
        ({"imgs": np.zeros((2, 3, 4, 5, 3))}, "shape 2 × 3 × 4 × 5 × 3"),
        ({"imgs": np.array([{}], dtype=object)}, "cannot be read"),
        ({"imgs": VOXELS.astype(complex)}, "complex128"),
        ({"imgs": VOXELS, "spacing": (1.0, 1.0, 0.0)}, "three positive numbers"),
        ({"imgs": VOXELS, "spacing": np.ones(10**6)}, "1000000 values"),
    ],
)
def test_what_has_no_meaning_is_refused(arrays: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=told):
        read_image([saved(tmp_path / "a.npz", **arrays)])


def test_files_that_are_none_or_announce_too_much_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"\x89PNG\r\n\x1a\n rest")
    with pytest.raises(ImageError, match="no NPZ but a PNG"):
        read_image([tmp_path / "a.npz"])
    with pytest.raises(ImageError, match="no such file"):
        read_image([tmp_path / "b.npz"])
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (10**9,) * 3}
    )
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("imgs.npy", header.getvalue() + b"12")
    with pytest.raises(ImageError, match="2 bytes for an array"):
        read_geometry(tmp_path / "c.npz")
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("imgs.npy", b"\x93NUMPY\x01\x00\x10\x00{'descr': (((\n   " + b"12")
    with pytest.raises(ImageError, match="cannot be read"):
        read_geometry(tmp_path / "e.npz")
    whole = saved(tmp_path / "d.npz", imgs=VOXELS).read_bytes()
    for damaged in (whole[:-30], whole[:60] + b"\0\0" + whole[62:]):
        (tmp_path / "d.npz").write_bytes(damaged)
        with pytest.raises(ImageError, match="cannot be read"):
            read_image([tmp_path / "d.npz"])


@pytest.mark.parametrize(
    "text",
    [
        "{'descr': ('|u1', 'fortran_order': False, 'shape': (8,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': " + "(" * 300 + "8,), }",
        "{'descr': '|u1', 'fortran_order': False, 1: (8,), }",
        "{[]: 1}",
        "  1\n 2",
    ],
)
def test_headers_that_are_no_python_are_refused(tmp_path: Path, text: str) -> None:
    header = text.encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr(
            "imgs.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(8)
        )
    for read in (lambda path: read_image([path]), read_geometry):
        with pytest.raises(ImageError, match=r"a\.npz"):
            read(tmp_path / "a.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_of_every_compression_are_read_or_refused_where_they_are_damaged(
    tmp_path: Path, method: int
) -> None:
    content, voxels = io.BytesIO(), np.random.default_rng(0).integers(0, 3, (8, 16, 16)).astype(np.uint8)
    np.save(content, voxels)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("imgs.npy", content.getvalue())
    np.testing.assert_array_equal(read_image([tmp_path / "a.npz"]).data[0], voxels)
    whole = bytearray((tmp_path / "a.npz").read_bytes())
    whole[60:200] = bytes(byte ^ 0xA5 for byte in whole[60:200])
    (tmp_path / "a.npz").write_bytes(whole)
    with pytest.raises(ImageError, match=r"a\.npz"):
        read_image([tmp_path / "a.npz"])


def test_npz_files_beside_the_image_of_their_case_are_no_images(tmp_path: Path) -> None:
    """nnU-Net keeps its probabilities so."""
    paths = [tmp_path / name for name in ("a.nii.gz", "a.npz", ".b.npz", "a.pkl", "c.npz")]
    assert images_among(paths) == [paths[0], paths[4]]
    assert images_among(paths[1:]) == [paths[1], paths[4]]
    numbered = [tmp_path / name for name in ("a_0000.nii.gz", "a.npz", "b_0000.npz")]
    assert images_among(numbered) == [numbered[0], numbered[2]]
