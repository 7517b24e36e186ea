"""Are the compressed voxels of an MHA or NRRD file whole? Asked before ITK sees them.

ITK reads damaged ones, or too few, without a word, and returns noise; or it unpacks whatever there is.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio.inflate import Readable, inflated

HEADER_LIMIT_BYTES = 1 << 20
SLACK_BYTES = 1 << 20  # what may lie behind the voxels: padding, extensions
MHA_DATA = re.compile(rb"ElementDataFile\s*=\s*LOCAL\s*?\n", re.IGNORECASE)
MHA_COMPRESSED = re.compile(rb"^CompressedData[ \t]*=[ \t]*[Tt1]", re.MULTILINE)
MHA_PACKED_SIZE = re.compile(rb"^CompressedDataSize[ \t]*=[ \t]*(\d+)", re.MULTILINE)
NRRD_DATA = re.compile(rb"\r?\n\r?\n")
NRRD_COMPRESSED = re.compile(rb"^encoding:\s*(gzip|gz)", re.MULTILINE | re.IGNORECASE)
NRRD_DETACHED = re.compile(rb"^data ?file:", re.MULTILINE | re.IGNORECASE)


def verify_compressed_voxels(path: Path, announced: int) -> None:
    """Decompress the voxels of an MHA or NRRD file once, piece by piece, and throw them away; other files are
    passed over.

    Args:
        announced: bytes of voxels, as the header says.

    Raises:
        ImageError: the compressed voxels are damaged, fewer or far more than announced.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(HEADER_LIMIT_BYTES)
            where = _compressed_in(start)
            if where is None:
                return
            stream.seek(where[0])
            found = 0
            packed: Readable = stream if where[1] is None else _Beginning(stream, where[1])
            for piece in inflated(packed, wbits=47):  # zlib (MHA) or gzip (NRRD), whichever it is
                found += len(piece)
                if found > announced + SLACK_BYTES:
                    raise too_much_packed(path, announced)
        if found < announced:
            raise _damaged(path, f"{found} bytes of voxels where the header announces {announced}")
    except OSError:
        return  # the reader itself says what is wrong with the path
    except zlib.error as problem:
        raise _damaged(path, f"damaged voxels ({problem})") from None


def too_much_packed(path: Path, announced: int) -> ImageError:
    """The error for a file that holds far more than its header announces; it is not unpacked to its end."""
    return ImageError(
        path,
        found=f"more than {SLACK_BYTES >> 20} MiB packed behind the {announced} bytes that the header "
        "announces",
        expected="no more than the header announces",
        fix="export the file again; the header, or what was put behind the voxels, is wrong",
    )


class _Beginning:
    """The next bytes of a stream as if it ended there: ITK reads no more of compressed voxels either."""

    def __init__(self, stream: Readable, length: int) -> None:
        self._stream, self._left = stream, length

    def read(self, size: int, /) -> bytes:
        piece = self._stream.read(min(size, self._left))
        self._left -= len(piece)
        return piece


def _compressed_in(start: bytes) -> tuple[int, int | None] | None:
    """Where compressed voxels begin, and how many bytes they are, where the header says it."""
    if start.startswith(b"NRRD"):
        end = NRRD_DATA.search(start)
        header = start[: end.end()] if end else b""
        within = end and NRRD_COMPRESSED.search(header) and not NRRD_DETACHED.search(header)
        return (end.end(), None) if end and within else None
    end = MHA_DATA.search(start)
    if end is None or not MHA_COMPRESSED.search(start[: end.start()]):
        return None
    size = MHA_PACKED_SIZE.search(start[: end.start()])
    return end.end(), int(size.group(1)) if size else None


def _damaged(path: Path, found: str) -> ImageError:
    return ImageError(
        path,
        found=found,
        expected="a whole file",
        fix="copy or export the file again; leave the case out if the original is damaged",
    )
