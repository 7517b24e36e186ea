"""A zip archive that is the same, byte for byte, whenever it is made from the same files."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from lzma import LZMAError
from pathlib import Path

from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import atomic_path

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that zip knows
PACKED = (".gz", ".png", ".jpg", ".zip", ".npz")
BLOCK = 2**20
# what unpacking raises where bytes are others than were written, be they those that name the way of packing
DAMAGE = (OSError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError, ValueError)


def write_archive(path: Path, members: Mapping[str, Path]) -> None:
    """Write files into a zip under the given names: sorted, without dates or owners; packed files are stored
    as they are."""
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
            with members[name].open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while block := source.read(BLOCK):
                    target.write(block)


def verify_archive(path: Path, sha256: Mapping[str, str]) -> None:
    """Open the archive again and compare every member's content.

    Raises:
        PredictionError: it cannot be read, or members or their content are not those expected.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            content = {name: _member_sha256(archive, name) for name in names}
    except DAMAGE as problem:
        raise _damaged(path, str(problem)) from None
    if sorted(names) != sorted(sha256) or content != dict(sha256):
        raise _damaged(path, "other members or content than was written")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _member_sha256(archive: zipfile.ZipFile, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as member:
        while block := member.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _damaged(path: Path, found: str) -> PredictionError:
    return PredictionError(
        path,
        found=found,
        expected="the archive that was just written",
        fix="check the disk (full? failing?), then submit again",
    )
