"""MHA and NRRD: whatever tags their writers take along is passed over; what ITK would trip over is named."""

from __future__ import annotations

import gzip
import re
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import file_ending_of, read_image

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)

TAGS = {
    "dim[0]": "3",
    "0008|0060": "MR",
    "0029|1010": "x" * 20_000,
    "a key with spaces": "a = b",
    "qto_xyz": "[1, 0; 0, 1]",
    "0010|0010": "Müller^Jürgen",
    "empty": "",
}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_tags_that_a_writer_takes_along_are_passed_over(
    tmp_path: Path, ending: str, compressed: bool
) -> None:
    image = sitk.GetImageFromArray(VOXELS)
    for name, value in TAGS.items():
        image.SetMetaData(name, value)
    sitk.WriteImage(image, str(tmp_path / f"a{ending}"), useCompression=compressed)
    np.testing.assert_array_equal(read_image([tmp_path / f"a{ending}"]).data[0], VOXELS)


def with_lines(path: Path, lines: bytes) -> Path:
    """An MHA file with further header lines before DimSize."""
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    path.write_bytes(path.read_bytes().replace(b"DimSize", lines + b"DimSize"))
    return path


@pytest.mark.parametrize(
    "lines", [b"a=1\na=2\n", b"x: y\n", b"k = \xe9\xff\n", b"a = x\r\n", b"\n", b"Color = 1 0 0 1\n"]
)
def test_odd_lines_that_itk_reads_are_passed_over(tmp_path: Path, lines: bytes) -> None:
    np.testing.assert_array_equal(read_image([with_lines(tmp_path / "a.mha", lines)]).data[0], VOXELS)


@pytest.mark.parametrize(
    "lines",
    [
        b"0010|21b0 = one\ntwo\n",
        b"k" * 900 + b" = v\n",
        b"HeaderSize = 10\n",
        b"Comment = " + b"x" * 3000 + b"\n",
    ],
)
def test_lines_that_itk_trips_over_are_named(tmp_path: Path, lines: bytes) -> None:
    with pytest.raises(ImageError, match=r"a\.mha"):
        read_image([with_lines(tmp_path / "a.mha", lines)])


def packed_behind(header: bytes, packed: bytes, size: int | None = None) -> bytes:
    """An MHA file of this header and compressed voxels, whose size it announces; of NRRD nothing changes."""
    right = b"CompressedDataSize = %d\n" % (len(packed) if size is None else size)
    return re.sub(rb"CompressedDataSize.*\n", right, header) + packed


@pytest.mark.parametrize("line", [b"", b"CompressedDataSize = 0\n", b"CompressedDataSize = -1\n"])
@pytest.mark.parametrize("said", [b"True", b"true", b"1"])
def test_compressed_voxels_of_unknown_size_are_refused(tmp_path: Path, line: bytes, said: bytes) -> None:
    """ITK returns the packed bytes as voxels."""
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=True)
    header = re.sub(rb"CompressedDataSize.*\n", line, path.read_bytes())
    path.write_bytes(header.replace(b"CompressedData = True", b"CompressedData = " + said))
    with pytest.raises(ImageError, match=r"before [0-9]+ bytes") as caught:
        read_image([path])
    assert "SimpleITK" not in caught.value.fix  # which would make noise of it
    (advised,) = re.findall("'(CompressedDataSize = [0-9]+)'", caught.value.fix)
    header = path.read_bytes().replace(line, b"") if line else path.read_bytes()
    path.write_bytes(header.replace(b"ElementDataFile", advised.encode() + b"\nElementDataFile"))
    np.testing.assert_array_equal(read_image([path]).data[0], VOXELS)


def test_compressed_voxels_of_another_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=True)
    content = path.read_bytes()
    end = content.index(b"LOCAL\n") + 6
    header, packed = content[:end], content[end:]
    path.write_bytes(packed_behind(header, packed + b"padding"))
    np.testing.assert_array_equal(read_image([path]).data[0], VOXELS)
    for odd in (packed_behind(header, packed, len(packed) - 20), packed_behind(header, packed, 10**6)):
        path.write_bytes(odd)
        with pytest.raises(ImageError, match=r"a\.mha"):
            read_image([path])


def compressed(folder: Path, ending: str, content: bytes) -> Path:
    """A file whose header announces VOXELS, and behind which `content` is packed."""
    path = folder / f"a{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=True)
    whole, pack = path.read_bytes(), zlib.compress if ending == ".mha" else gzip.compress
    end = whole.index(b"LOCAL\n") + 6 if ending == ".mha" else whole.index(b"\n\n") + 2
    path.write_bytes(packed_behind(whole[:end], pack(content)))
    return path


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_compressed_voxels_that_are_too_few_are_refused(tmp_path: Path, ending: str) -> None:
    """ITK leaves the rest as the memory was."""
    path = compressed(tmp_path, ending, VOXELS.tobytes()[:50])
    with pytest.raises(ImageError, match="50 bytes of voxels where the header announces 120"):
        read_image([path])


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_no_more_is_unpacked_than_the_header_announces(tmp_path: Path, ending: str) -> None:
    path = compressed(tmp_path, ending, VOXELS.tobytes() + bytes(2**25))
    tracemalloc.start()
    with pytest.raises(ImageError, match="packed behind"):
        read_image([path])
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


RAW_NRRD = (
    b"NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 4 3\n"
    b"space directions: (1,0,0) (0,1,0) (0,0,2)\nkinds: domain domain domain\nendian: little\n"
    b"encoding: raw\nspace origin: (0,0,0)\n"
)
GZIP_NRRD = RAW_NRRD.replace(b"raw", b"gzip")


@pytest.mark.parametrize(
    "content",
    [
        RAW_NRRD.replace(b"type:", b"Type:").replace(b"sizes:", b"Sizes:") + b"\n" + VOXELS.tobytes(),
        RAW_NRRD.replace(b"short", b"SHORT").replace(b"raw", b"RAW") + b"\n" + VOXELS.tobytes(),
        RAW_NRRD + b"byte skip: 0\nline skip: 0\n\n" + VOXELS.tobytes(),
        GZIP_NRRD.replace(b"gzip", b"GZIP") + b"\n" + gzip.compress(VOXELS.tobytes()),
    ],
    ids=["fields in capitals", "values in capitals", "skips of 0", "GZIP"],
)
def test_nrrd_headers_are_read_whatever_their_capitals(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(content)
    itk = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    np.testing.assert_array_equal(itk, VOXELS)
    np.testing.assert_array_equal(read_image([path]).data[0], VOXELS)


@pytest.mark.parametrize(
    ("ending", "old", "new", "expected"),
    [
        (".nrrd", b"encoding: raw", b"encoding: bzip2", "gzip"),
        (".nrrd", b"endian", b"data file: a.raw\nendian", r"sitk\.WriteImage"),
        (".mha", b"LOCAL", b"a.raw", r"sitk\.WriteImage"),
        (".mha", b"LOCAL", b"LIST", r"sitk\.WriteImage"),
    ],
)
def test_what_is_not_supported_is_not_called_damaged(
    tmp_path: Path, ending: str, old: bytes, new: bytes, expected: str
) -> None:
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ImageError, match=expected) as caught:
        read_image([path])
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("local", [b"LOCAL", b"Local", b"local"])
@pytest.mark.parametrize("compressed", [False, True])
def test_voxels_in_the_file_itself_are_read_however_that_is_written(
    tmp_path: Path, local: bytes, compressed: bool
) -> None:
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=compressed)
    path.write_bytes(path.read_bytes().replace(b"LOCAL", local))
    np.testing.assert_array_equal(read_image([path]).data[0], VOXELS)


@pytest.mark.parametrize("said", [b"False", b"F", b"0"])
@pytest.mark.parametrize(("kind", "dtype"), [(b"MET_SHORT", np.int16), (b"MET_FLOAT", np.float32)])
def test_voxels_written_as_text_are_read(tmp_path: Path, said: bytes, kind: bytes, dtype: type) -> None:
    path = tmp_path / "a.mha"
    header = b"NDims = 3\nBinaryData = %s\nDimSize = 5 4 3\nElementType = %s\nElementDataFile = LOCAL\n"
    path.write_bytes(
        header % (said, kind) + " ".join(str(value % 10) for value in VOXELS.ravel()).encode() + b"\n"
    )
    np.testing.assert_array_equal(read_image([path]).data[0], (VOXELS % 10).astype(dtype))
    path.write_bytes(header % (said, kind) + b"1 2 3\n")
    with pytest.raises(ImageError, match="announces"):
        read_image([path])


@pytest.mark.parametrize("name", ["a.mhd", "a_0000.NHDR"])
def test_headers_whose_voxels_lie_elsewhere_are_told_how_to_be_made_one_file(name: str) -> None:
    with pytest.raises(ImageError, match=r"sitk\.WriteImage"):
        file_ending_of(Path(name))


@pytest.mark.parametrize(
    "lines", [b"ElementToIntensityFunctionSlope = 2.5\n", b"ElementToIntensityFunctionOffset = -10\n"]
)
def test_a_scale_that_itk_does_not_apply_is_refused(tmp_path: Path, lines: bytes) -> None:
    with pytest.raises(ImageError, match=r"ElementToIntensityFunction[\s\S]*sitk\.WriteImage"):
        read_image([with_lines(tmp_path / "a.mha", lines)])


def test_a_scale_of_one_is_none(tmp_path: Path) -> None:
    lines = b"ElementToIntensityFunctionSlope = 1.0\nElementToIntensityFunctionOffset = 0\n"
    np.testing.assert_array_equal(read_image([with_lines(tmp_path / "a.mha", lines)]).data[0], VOXELS)


@pytest.mark.parametrize(
    ("slope", "offset"), [("2.5", "-10"), ("0.0152590218966964", "-1024.6789123"), ("-1e-05", "0")]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_advised_command_applies_the_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slope: str, offset: str, channels: int
) -> None:
    path = tmp_path / "a.mha"
    voxels = np.stack([VOXELS * (number + 1) for number in range(channels)])
    image = sitk.GetImageFromArray(np.moveaxis(voxels, 0, -1), isVector=True) if channels > 1 else None
    sitk.WriteImage(image or sitk.GetImageFromArray(VOXELS), str(path))
    scale = f"ElementToIntensityFunctionSlope = {slope}\nElementToIntensityFunctionOffset = {offset}\n"
    path.write_bytes(path.read_bytes().replace(b"DimSize", scale.encode() + b"DimSize"))
    with pytest.raises(ImageError) as caught:
        read_image([path])
    monkeypatch.chdir(tmp_path)
    exec(caught.value.fix.partition(": ")[2], {"sitk": sitk})
    assert path.is_file()
    expected = voxels * float(slope) + float(offset)
    np.testing.assert_allclose(read_image([Path("scaled_a.mha")]).data, expected, rtol=1e-6)


PADDING = b"x" * 400


@pytest.mark.parametrize(
    ("ending", "line", "between"),
    [
        (".mha", b"HeaderSize = %d\n", PADDING),
        (".nrrd", b"byte skip: 400\n", PADDING),
        (".nrrd", b"byteskip: -1\n", PADDING),
        (".nrrd", b"line skip: 2\nbyte skip: 1\n", b"one\ntwo\n3"),
    ],
)
def test_the_advised_command_leaves_out_bytes_that_are_to_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, line: bytes, between: bytes
) -> None:
    path = tmp_path / f"a{ending}"
    header = RAW_NRRD + line + b"\n"
    if ending == ".mha":
        sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
        plain = path.read_bytes().partition(b"LOCAL\n")[0] + b"LOCAL\n"
        length = len(plain) + len(line % 100)
        header = plain.replace(b"DimSize", line % (length + len(between)) + b"DimSize")
        assert len(header) == length
    path.write_bytes(header + between + VOXELS.tobytes())
    with pytest.raises(ImageError, match="to skip") as caught:
        read_image([path])
    assert "damaged" not in str(caught.value)
    monkeypatch.chdir(tmp_path)
    exec(caught.value.fix.partition(": ")[2], {"sitk": sitk})
    np.testing.assert_array_equal(read_image([Path(f"whole_a{ending}")]).data[0], VOXELS)


@pytest.mark.parametrize(
    ("header", "voxels"),
    [
        (b"byte skip: 400\n", PADDING + VOXELS.tobytes()[:-1]),
        (b"line skip: -1\n", VOXELS.tobytes()),
        (b"byte skip: lots\n", VOXELS.tobytes()),
        (b"byte skip: 0\nbyteskip: 400\n", PADDING + VOXELS.tobytes()),
    ],
)
def test_nrrd_whose_skips_itk_cannot_follow_is_not_to_be_saved_again(
    tmp_path: Path, header: bytes, voxels: bytes
) -> None:
    path = tmp_path / "a.nrrd"
    path.write_bytes(RAW_NRRD + header + b"\n" + voxels)
    with pytest.raises(ImageError, match=r"copy or export the file again") as caught:
        read_image([path])
    assert "WriteImage" not in caught.value.fix


@pytest.mark.parametrize("skipped", [1, 250, 5000])
@pytest.mark.parametrize("compressed", [False, True])
def test_mha_whose_skips_itk_cannot_follow_is_not_to_be_saved_again(
    tmp_path: Path, skipped: int, compressed: bool
) -> None:
    """ITK counts from the beginning of the file."""
    path = tmp_path / "a.mha"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=compressed)
    path.write_bytes(path.read_bytes().replace(b"DimSize", b"HeaderSize = %d\nDimSize" % skipped))
    with pytest.raises(ImageError) as caught:
        read_image([path])
    assert "WriteImage" not in caught.value.fix
