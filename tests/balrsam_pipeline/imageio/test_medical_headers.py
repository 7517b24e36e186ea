"""MHA and NRRD: whatever tags their writers take along is passed over; what ITK would trip over is named."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import read_image

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


@pytest.mark.parametrize("ending", [".mha", ".nrrd"])
def test_no_more_is_unpacked_than_the_header_announces(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path), useCompression=True)
    header, pack = path.read_bytes(), zlib.compress if ending == ".mha" else gzip.compress
    end = header.index(b"LOCAL\n") + 6 if ending == ".mha" else header.index(b"\n\n") + 2
    lines = b"".join(line for line in header[:end].splitlines(True) if b"CompressedDataSize" not in line)
    path.write_bytes(lines + pack(VOXELS.tobytes() + bytes(2**25)))
    tracemalloc.start()
    with pytest.raises(ImageError, match="packed behind"):
        read_image([path])
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
