"""PNG, BMP, JPEG and TIFF: colours become channels, bit depth is kept, stacks bring their spacing."""

from __future__ import annotations

import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import (
    Geometry,
    Image,
    label_ending,
    picture_geometry,
    read_geometry,
    read_image,
    read_label,
    write_image,
    write_label,
)

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 7, 3)).astype(np.uint8)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff"])
def test_an_rgb_picture_has_three_channels(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    tifffile.imwrite(path, COLOURS) if "tif" in ending else PillowImage.fromarray(COLOURS).save(path)
    image = read_image([path])
    np.testing.assert_array_equal(image.data[:, 0], COLOURS.transpose(2, 0, 1))
    assert image.geometry == picture_geometry(6, 7) == read_geometry(path)
    assert image.geometry.spacing_mm == (999.0, 1.0, 1.0)
    write_image(tmp_path / f"b{ending}", image)
    np.testing.assert_array_equal(read_image([tmp_path / f"b{ending}"]).data, image.data)


def test_an_alpha_channel_is_a_fourth_channel(tmp_path: Path) -> None:
    PillowImage.fromarray(np.dstack([COLOURS, COLOURS[..., 0]])).save(tmp_path / "a.png")
    assert read_image([tmp_path / "a.png"]).data.shape == (4, 1, 6, 7)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_sixteen_bits_are_kept(tmp_path: Path, ending: str) -> None:
    deep = np.arange(42, dtype=np.uint16).reshape(1, 1, 6, 7) * 1500
    write_image(tmp_path / f"a{ending}", Image(deep, picture_geometry(6, 7)))
    image = read_image([tmp_path / f"a{ending}"])
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data, deep)


def test_a_palette_is_colours_in_an_image_and_indices_in_a_label(tmp_path: Path) -> None:
    indices = np.array([[0, 1], [2, 1]], np.uint8)
    picture = PillowImage.fromarray(indices)
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_label(tmp_path / "a.png").data[0, 0], indices)
    assert read_image([tmp_path / "a.png"]).data[:, 0, 0, 1].tolist() == [128, 0, 0]


def test_a_one_bit_mask_holds_0_and_1(tmp_path: Path) -> None:
    PillowImage.fromarray(np.array([[False, True]])).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").data.ravel().tolist() == [0, 1]


def test_a_colour_mask_is_refused(tmp_path: Path) -> None:
    PillowImage.fromarray(COLOURS).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="colour mask"):
        read_label(tmp_path / "a.png")


def test_cmyk_is_refused(tmp_path: Path) -> None:
    PillowImage.fromarray(COLOURS).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="colour mode CMYK"):
        read_image([tmp_path / "a.jpg"])


@pytest.mark.parametrize("name", ["case_0000.json", "case.json"])
def test_a_tiff_stack_takes_its_spacing_from_the_file_beside_it(tmp_path: Path, name: str) -> None:
    stack = np.random.default_rng(0).integers(0, 60000, (5, 6, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "case_0000.tif", stack)
    (tmp_path / name).write_text(json.dumps({"spacing": [2.5, 0.5, 0.25]}))
    image = read_image([tmp_path / "case_0000.tif"])
    np.testing.assert_array_equal(image.data[0], stack)
    assert image.geometry == Geometry(dimension=3, shape_zyx=(5, 6, 7), spacing_mm=(2.5, 0.5, 0.25))
    write_label(tmp_path / "out" / "case.tif", stack % 3, image.geometry)
    label = read_label(tmp_path / "out" / "case.tif")
    assert label.geometry == image.geometry
    np.testing.assert_array_equal(label.data[0], stack % 3)


@pytest.mark.parametrize("shape", [(1, 6, 7), (3, 6, 7), (4, 6, 3), (4, 6, 4)])
def test_small_stacks_are_not_taken_for_colours(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    geometry = Geometry(dimension=3, shape_zyx=shape, spacing_mm=(2.0, 1.0, 1.0))
    voxels = np.arange(np.prod(shape), dtype=np.uint8).reshape(1, *shape)
    write_image(tmp_path / "a.tif", Image(voxels, geometry))
    image = read_image([tmp_path / "a.tif"])
    assert image.geometry == geometry
    np.testing.assert_array_equal(image.data, voxels)


def test_a_malformed_spacing_file_is_named(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 7), np.uint8))
    (tmp_path / "a.json").write_text('{"spacing": [1, 2]}')
    with pytest.raises(ImageError, match=r"a\.json"):
        read_image([tmp_path / "a.tif"])


@pytest.mark.parametrize("ending", [".png", ".bmp", ".jpg", ".tif"])
def test_a_damaged_picture_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    write_image(
        path, Image(np.tile(COLOURS, (20, 20, 1)).transpose(2, 0, 1)[:, None], picture_geometry(120, 140))
    )
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"a\{ending}"):
        read_image([path])


def test_labels_of_jpeg_images_are_png(tmp_path: Path) -> None:
    assert label_ending(".jpg") == ".png"
    with pytest.raises(ImageError, match="JPEG"):
        write_label(tmp_path / "a.jpg", np.zeros((1, 6, 7)), picture_geometry(6, 7))


def test_a_png_that_announces_more_pixels_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    picture = io.BytesIO()
    PillowImage.fromarray(np.full((12, 10, 3), 7, np.uint8)).save(picture, "PNG")
    content = bytearray(picture.getvalue())
    content[20:24] = (2**24).to_bytes(
        4, "big"
    )  # the height; without the check, twelve rows and 16 million black ones
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "a.png").write_bytes(content)
    for read in (read_label, lambda path: read_image([path])):
        with pytest.raises(ImageError, match="10 x 16777216 pixels in a file of"):
            read(tmp_path / "a.png")


def test_a_black_png_is_read(tmp_path: Path) -> None:
    PillowImage.new("1", (8000, 8000)).save(tmp_path / "a.png")
    assert read_label(tmp_path / "a.png").data.shape == (1, 1, 8000, 8000)
