"""Are the compressed voxels of an MHA or NRRD file whole? ITK reads damaged ones without a word, so the checksum is verified first."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from balrsam_pipeline.errors import ImageError

HEADER_LIMIT_BYTES = 65536
CHUNK_BYTES = 1 << 20
MHA_DATA = re.compile(rb"ElementDataFile\s*=\s*LOCAL\r?\n")
MHA_COMPRESSED = re.compile(rb"^CompressedData\s*=\s*True", re.MULTILINE | re.IGNORECASE)
NRRD_DATA = re.compile(rb"\r?\n\r?\n")
NRRD_COMPRESSED = re.compile(rb"^encoding:\s*(gzip|gz)", re.MULTILINE | re.IGNORECASE)
NRRD_DETACHED = re.compile(rb"^data ?file:", re.MULTILINE | re.IGNORECASE)


def verify_compressed_voxels(path: Path) -> None:
    """Decompress the voxels of an MHA or NRRD file once and throw them away; other files are passed over.

    Raises:
        ImageError: the compressed voxels are damaged or end too early.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(HEADER_LIMIT_BYTES)
            offset = _compressed_from(start)
            if offset is None:
                return
            stream.seek(offset)
            decoder = zlib.decompressobj(wbits=47)  # 47: zlib (MHA) or gzip (NRRD), whichever it is
            while not decoder.eof and (chunk := stream.read(CHUNK_BYTES)):
                decoder.decompress(chunk)
    except OSError:
        return  # the reader itself says what is wrong with the path
    except zlib.error as problem:
        raise _damaged(path, f"damaged voxels ({problem})") from None
    if not decoder.eof:
        raise _damaged(path, "compressed voxels that end too early")


def _compressed_from(start: bytes) -> int | None:
    if start.startswith(b"NRRD"):
        end = NRRD_DATA.search(start)
        header = start[: end.end()] if end else b""
        return end.end() if end and NRRD_COMPRESSED.search(header) and not NRRD_DETACHED.search(header) else None
    end = MHA_DATA.search(start)
    return end.end() if end and MHA_COMPRESSED.search(start[: end.start()]) else None


def _damaged(path: Path, found: str) -> ImageError:
    return ImageError(
        path,
        found=found,
        expected="a whole file",
        mend="copy or export the file again; leave the case out if the original is damaged",
    )
