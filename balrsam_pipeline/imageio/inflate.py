"""Unpacking zlib and gzip streams piece by piece, so that nobody holds more than was asked for."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Protocol

LARGEST_RATIO = 1032  # what deflate can reach: bounds the voxels that a compressed file can hold
GZIP_MAGIC = b"\x1f\x8b"
PIECE_BYTES, PACKED_BYTES = 1 << 20, 1 << 16


class Readable(Protocol):
    """What bytes are read from, as from a file."""

    def read(self, size: int, /) -> bytes: ...


def inflated(stream: Readable, wbits: int = 31) -> Iterator[bytes]:
    """Yield what a compressed stream holds in pieces of at most `PIECE_BYTES`, lazily; checksums are verified
    on the way.

    A gzip stream may consist of several members (bgzip, pigz, files put one behind the other); zeros and
    other bytes behind the last one are passed over, as gzip itself does.

    Args:
        wbits: as in zlib: 31 for gzip, 47 for gzip or zlib.

    Raises:
        zlib.error: the stream is damaged or ends too early.
    """
    packed = stream.read(PACKED_BYTES)
    while packed:
        member = zlib.decompressobj(wbits=wbits)
        while not member.eof:
            piece = member.decompress(packed, PIECE_BYTES)
            packed = member.unconsumed_tail
            if piece:
                yield piece
            if not packed and not member.eof:
                packed = stream.read(PACKED_BYTES)
                if not packed:
                    yield from _last(member)
                    break
        packed = member.unused_data or stream.read(PACKED_BYTES)
        if len(packed) < len(GZIP_MAGIC):
            packed += stream.read(PACKED_BYTES)
        if not packed.startswith(GZIP_MAGIC):
            return


def _last(member: zlib._Decompress) -> Iterator[bytes]:
    """What is left in a decoder whose input has ended."""
    rest = member.flush()
    if not member.eof:
        raise zlib.error("it ends too early")
    if rest:
        yield rest


class Unpacked:
    """Unpacked pieces, of which no more are held than was asked for."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._left = pieces, b""

    def fill(self, buffer: bytearray, length: int) -> bytearray:
        """Add to `buffer` until it holds `length` bytes, or the content ends."""
        while len(buffer) < length:
            piece = self._left or next(self._pieces, b"")
            if not piece:
                break
            wanted = length - len(buffer)
            buffer += piece[:wanted]
            self._left = piece[wanted:]
        return buffer

    def finish(self, most: int) -> bool:
        """Go to the end, where a checksum may be, throwing away at most `most` bytes; whether it was
        reached."""
        passed = len(self._left)
        while passed <= most and (piece := next(self._pieces, b"")):
            passed += len(piece)
        return passed <= most
