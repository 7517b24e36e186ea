"""PNG, BMP, JPEG and TIFF: colours become channels, bit depth is kept, stacks bring their spacing."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as PillowImage
from PIL import ImageOps

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import (
    Geometry,
    Image,
    label_ending,
    picture_geometry,
    read_geometry,
    read_image,
    read_label,
    stored_orientation,
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


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def grey_png(path: Path, grey_yx: np.ndarray, bits: int, before: bytes = b"", after: bytes = b"") -> Path:
    """A grey PNG of few bits, which Pillow cannot write; `before` and `after` its pixels other chunks."""
    height, width = grey_yx.shape
    digits = (grey_yx[..., None] >> np.arange(bits)[::-1]) & 1
    rows = np.packbits(digits.reshape(height, -1).astype(np.uint8), axis=1)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", pixels) + after + chunk(b"IEND", b"")
    )
    return path


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_readers_silent_conversion_grey_label_values_of_few_bits_are_kept(
    tmp_path: Path, bits: int
) -> None:
    values = np.arange(63).reshape(7, 9) % 2**bits
    np.testing.assert_array_equal(read_label(grey_png(tmp_path / "a.png", values, bits)).data[0, 0], values)


@pytest.mark.parametrize("where", ["before", "after"])
def test_metadata_that_are_too_large_are_named_as_such(tmp_path: Path, where: str) -> None:
    text = chunk(b"zTXt", b"k\0\0" + zlib.compress(b"x" * 3_000_000))
    path = grey_png(tmp_path / "a.png", np.zeros((6, 7), np.int64), 8, **{where: text})
    with pytest.raises(ImageError, match=r"metadata[\s\S]*exiftool -all= ") as caught:
        read_image([path])
    assert "damaged" not in str(caught.value)


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


@pytest.mark.parametrize(
    "spacing",
    ["[1, 2]", "[1e999, 1, 1]", "[true, 1, 1]", "[NaN, 1, 1]", f"[1, 1, {'9' * 25}e300]", "[0, 1, 1]"],
)
def test_a_malformed_spacing_file_is_named(tmp_path: Path, spacing: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 6, 7), np.uint8))
    (tmp_path / "a.json").write_text(f'{{"spacing": {spacing}}}')
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


MARKED = np.zeros((4, 6), np.uint8)
MARKED[0, :2] = 200, 100  # where is up and left


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_a_readers_silent_default_a_picture_stands_as_viewers_show_it(
    tmp_path: Path, ending: str, orientation: int
) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    big = np.kron(MARKED, np.ones((16, 16), np.uint8))
    PillowImage.fromarray(big).save(tmp_path / f"a{ending}", exif=exif, quality=95)
    with PillowImage.open(tmp_path / f"a{ending}") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    image = read_image([tmp_path / f"a{ending}"])
    np.testing.assert_array_equal(image.data[0, 0], expected)
    assert image.geometry == read_geometry(tmp_path / f"a{ending}") == picture_geometry(*expected.shape)
    np.testing.assert_array_equal(read_label(tmp_path / f"a{ending}").data[0, 0], expected)
    assert stored_orientation(tmp_path / f"a{ending}") == orientation


def test_a_readers_silent_default_exif_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    PillowImage.fromarray(MARKED).save(tmp_path / "a.png", exif=exif)
    content = (tmp_path / "a.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4], "big")
    (tmp_path / "a.png").write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    assert read_image([tmp_path / "a.png"]).data.shape == (1, 1, 6, 4)
    assert read_geometry(tmp_path / "a.png").shape_zyx == (1, 6, 4)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_a_readers_silent_conversion_sixteen_bits_of_every_channel_are_kept(
    tmp_path: Path, channels: int
) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (channels, 1, 6, 7)).astype(np.uint16)
    write_image(tmp_path / "a.png", Image(deep, picture_geometry(6, 7)))
    image = read_image([tmp_path / "a.png"])
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data, deep)


def test_a_damaged_png_of_deep_colours_is_named(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (3, 1, 60, 70)).astype(np.uint16)
    write_image(tmp_path / "a.png", Image(deep, picture_geometry(60, 70)))
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"a\.png"):
        read_image([tmp_path / "a.png"])


def test_an_animated_png_is_refused(tmp_path: Path) -> None:
    frames = [PillowImage.fromarray(COLOURS), PillowImage.fromarray(COLOURS[::-1].copy())]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animated"):
        read_image([tmp_path / "a.png"])


FORMATS = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "BMP": ".bmp",
    "TIFF": ".tif",
    "GIF": "",
    "WEBP": "",
    "EPS": "",
    "PDF": "",
}


@pytest.mark.parametrize("ending", [".png", ".jpg", ".bmp", ".tif"])
@pytest.mark.parametrize("form", FORMATS)
def test_only_the_format_that_the_ending_says_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, ending: str
) -> None:
    monkeypatch.setattr("subprocess.Popen", None)  # Pillow starts Ghostscript for PostScript
    content = io.BytesIO()
    PillowImage.fromarray(COLOURS).save(content, form)
    (tmp_path / f"a{ending}").write_bytes(content.getvalue())
    for read in (read_label, read_geometry, lambda path: read_image([path])):
        if FORMATS[form] == ending:
            continue
        with pytest.raises(ImageError, match=f"no {ending[1:3].upper()}.* but a") as refused:
            read(tmp_path / f"a{ending}")
        assert "damaged" not in str(refused.value)


def test_a_stitched_slide_is_read_whatever_pillows_limit(tmp_path: Path) -> None:
    PillowImage.new("1", (14000, 14000)).save(tmp_path / "a.png")
    assert read_geometry(tmp_path / "a.png").shape_zyx == (1, 14000, 14000)
    assert read_label(tmp_path / "a.png").data.shape == (1, 1, 14000, 14000)


def test_a_picture_that_is_too_large_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balrsam_pipeline.imageio.pillow_io.MOST_PIXELS", 40)
    PillowImage.fromarray(COLOURS).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match="too large"):
        read_image([tmp_path / "a.png"])


COMPRESSIONS = ["tiff_lzw", "tiff_deflate", "packbits", "jpeg", "zstd", "lzma"]
ONE_BIT = [None, "group3", "group4", "tiff_ccitt", "tiff_lzw", "packbits"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_sound_files_every_usual_compression_of_tiff_is_read(tmp_path: Path, compression: str) -> None:
    PillowImage.fromarray(COLOURS).save(tmp_path / "a.tif", compression=compression)
    with PillowImage.open(tmp_path / "a.tif") as picture:
        expected = np.asarray(picture)
    np.testing.assert_array_equal(read_image([tmp_path / "a.tif"]).data[:, 0], expected.transpose(2, 0, 1))


@pytest.mark.parametrize("compression", ONE_BIT)
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_sound_files_a_tiff_of_one_bit_holds_0_and_1(
    tmp_path: Path, compression: str | None, photometric: str
) -> None:
    white = COLOURS[..., 0] > 128
    if photometric == "minisblack":
        PillowImage.fromarray(white).save(tmp_path / "a.tif", compression=compression)
    else:
        tifffile.imwrite(tmp_path / "a.tif", ~white, photometric="miniswhite")
    for image in (read_label(tmp_path / "a.tif"), read_image([tmp_path / "a.tif"])):
        np.testing.assert_array_equal(image.data[0, 0], white)


@pytest.mark.parametrize("ending", [".tif", ".png", ".bmp"])
def test_a_palette_is_read_alike_in_every_format(tmp_path: Path, ending: str) -> None:
    indices = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    picture = PillowImage.fromarray(indices, "P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 64])
    picture.save(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(read_label(tmp_path / f"a{ending}").data[0, 0], indices)
    seen = read_image([tmp_path / f"a{ending}"]).data
    assert seen.dtype == np.uint8
    np.testing.assert_array_equal(seen[:, 0], np.asarray(picture.convert("RGB")).transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_brightness_in_an_image_and_left_alone_in_a_label(
    tmp_path: Path, dtype: type
) -> None:
    stored = np.array([[0, 1], [2, 3]], dtype)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite")
    np.testing.assert_array_equal(read_image([tmp_path / "a.tif"]).data[0, 0], np.iinfo(dtype).max - stored)
    np.testing.assert_array_equal(read_label(tmp_path / "a.tif").data[0, 0], stored)


@pytest.mark.parametrize("marked", [True, False])
def test_a_thumbnail_before_the_image_is_passed_over(tmp_path: Path, marked: bool) -> None:
    large = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(large[::4, ::4], subfiletype=1 if marked else 0, photometric="minisblack")
        writer.write(large, photometric="minisblack")
    np.testing.assert_array_equal(read_image([tmp_path / "a.tif"]).data[0, 0], large)
    assert read_geometry(tmp_path / "a.tif").shape_zyx == (1, 60, 80)


def test_several_images_of_different_sizes_in_one_tiff_are_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(np.zeros((60, 80), np.uint8), photometric="minisblack")
        writer.write(np.zeros((50, 80), np.uint8), photometric="minisblack")
    with pytest.raises(ImageError, match="2 images of different sizes"):
        read_image([tmp_path / "a.tif"])


def ome_xml(*planes: tuple[str, str], own: str = "a") -> str:
    """OME-XML of a stack of 16 × 16 pixels; each slice is the first page of a file (identity, name)."""
    data = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1">'
        f'<UUID FileName="{name}">urn:uuid:{uuid}</UUID></TiffData>'
        for z, (uuid, name) in enumerate(planes)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" '
        f'SizeX="16" SizeY="16" SizeZ="{len(planes)}" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
    )


@pytest.mark.parametrize(
    ("planes", "said"),
    [
        ([("a", "a.tif"), ("b", "gone.tif")], "missing"),
        ([("a", "a.tif"), ("b", "../elsewhere/secret.tif")], "other files"),
        ([("b", "../elsewhere/secret.tif"), ("b", "../elsewhere/secret.tif")], "other files"),
        ([("b", "../elsewhere/secret.tif")], "other files"),
    ],
)
def test_a_tiff_takes_no_pixels_from_other_files_and_makes_none_up(
    tmp_path: Path, planes: list[tuple[str, str]], said: str
) -> None:
    for name, uuid, value in (("images/a.tif", "a", 7), ("elsewhere/secret.tif", "b", 99)):
        (tmp_path / name).parent.mkdir()
        voxels = np.full((16, 16), value, np.uint8)
        tifffile.imwrite(
            tmp_path / name,
            voxels,
            photometric="minisblack",
            metadata=None,
            description=ome_xml(*planes, own=uuid),
        )
    for read in (lambda path: read_image([path]), read_label, read_geometry):
        with pytest.raises(ImageError, match=said):
            read(tmp_path / "images" / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_an_ome_tiff_that_holds_all_of_its_pixels_is_read_under_any_name(
    tmp_path: Path, compression: str | None
) -> None:
    stack = np.random.default_rng(0).integers(0, 256, (5, 16, 20), dtype=np.uint8)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", stack, ome=True, metadata={"axes": "ZYX"}, compression=compression
    )
    (tmp_path / "a.ome.tif").rename(tmp_path / "case_0000.tif")
    np.testing.assert_array_equal(read_image([tmp_path / "case_0000.tif"]).data[0], stack)


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_colours_of_a_tiff_that_are_not_rgb_are_refused(tmp_path: Path, mode: str) -> None:
    PillowImage.fromarray(COLOURS).convert(mode).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match="colour mode"):
        read_image([tmp_path / "a.tif"])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_readers_silent_default_the_orientation_of_a_tiff_is_applied(
    tmp_path: Path, orientation: int
) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", MARKED, photometric="minisblack", extratags=[(274, 3, 1, orientation, True)]
    )
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    PillowImage.fromarray(MARKED).save(tmp_path / "b.png", exif=exif)
    same = read_image([tmp_path / "b.png"])
    image = read_image([tmp_path / "a.tif"])
    np.testing.assert_array_equal(image.data, same.data)
    assert image.geometry == same.geometry == read_geometry(tmp_path / "a.tif")
    assert stored_orientation(tmp_path / "a.tif") == orientation


def test_stacks_and_volumes_have_no_such_orientation(tmp_path: Path) -> None:
    stack = np.zeros((3, 4, 6), np.uint8)
    tag = [(274, 3, 1, 6, True)]
    tifffile.imwrite(
        tmp_path / "a.tif", stack, photometric="minisblack", metadata={"axes": "ZYX"}, extratags=tag
    )
    geometry = read_geometry(tmp_path / "a.tif")
    write_image(tmp_path / "a.nii.gz", Image(stack[None], geometry))
    assert stored_orientation(tmp_path / "a.tif") == stored_orientation(tmp_path / "a.nii.gz") == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint32])
def test_tiff_pixels_keep_their_type(tmp_path: Path, dtype: type) -> None:
    values = (np.arange(42).reshape(6, 7) * 3).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values)
    image = read_image([tmp_path / "a.tif"])
    assert image.data.dtype == dtype
    np.testing.assert_array_equal(image.data[0, 0], values)


def test_complex_pixels_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.ones((6, 7), np.complex64))
    with pytest.raises(ImageError, match="complex"):
        read_image([tmp_path / "a.tif"])


def test_no_more_of_a_tiff_is_unpacked_than_its_header_announces(tmp_path: Path) -> None:
    strip = zlib.compress(bytes(2**25))
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), np.uint8), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tags = {name: file.pages[0].tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")}
    content = bytearray((tmp_path / "a.tif").read_bytes())
    for name, value in (("StripOffsets", len(content)), ("StripByteCounts", len(strip))):
        content[tags[name] : tags[name] + 4] = value.to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(bytes(content) + strip)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(ImageError):
        assert read_image([tmp_path / "a.tif"]).data.shape == (1, 1, 64, 64)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
