"""Many small cases in one file: a pack is a safetensors file of bytes, one tensor per case.

A tensor, called by the case's number in the pack, holds one after the other what would be CASE.json and the
arrays that it names, each array as one blosc2 chunk. The file's metadata says of every case its name, shape,
recipe and checksum: what must be known of all cases before the first is read, in one read per pack. A pack is
written whole or not at all.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from balrsam_pipeline.errors import PreprocessingError
from balrsam_pipeline.files import atomic_path
from balrsam_pipeline.json_text import JsonTextError, parse_json
from balrsam_pipeline.layout import pack_path
from balrsam_pipeline.preprocessing.pack_index import INDEX, PackedCase
from balrsam_pipeline.preprocessing.stored_case import StoredCase, damaged
from balrsam_pipeline.serialise import from_json, to_json

MANY = 1000  # cases of a dataset from which on small ones share files
CASES = 256  # of a pack: what a killed run does again, and what lies in memory until it is written
SMALL_VALUES = 2**16  # of an image, all channels: 256 KiB
_CHUNK_HEADER = 32  # bytes of a blosc2 chunk


@dataclass(frozen=True, slots=True, kw_only=True)
class PackEntry:
    """A case on its way into a pack: its line of the index, and its bytes."""

    shape: tuple[int, int, int]
    recipe_sha256: str
    facts_bytes: int
    facts_crc32: int
    loses_labels: bool
    content: bytes


def is_small(image_czyx: npt.NDArray[np.float32]) -> bool:
    """Whether a case goes into a pack, where a dataset has `MANY` cases."""
    return image_czyx.size <= SMALL_VALUES


def encode(array: npt.NDArray[Any]) -> bytes:
    """An array as one blosc2 chunk; its type and shape are known to whoever reads it."""
    import blosc2  # half a second, which looking whether anything changed must not cost

    if array.size == 0:
        return b""
    return bytes(
        blosc2.compress2(
            np.ascontiguousarray(array),
            codec=blosc2.Codec.LZ4,
            clevel=1,
            typesize=array.itemsize,
            filters=[blosc2.Filter.SHUFFLE],
            nthreads=1,
        )
    )


def entry_of(stored: StoredCase, arrays: Mapping[str, bytes]) -> PackEntry:
    """What goes into a pack of a case: `arrays` are its encoded arrays, in the order of
    `stored.stored_bytes`."""
    facts = json.dumps(to_json(stored), allow_nan=False).encode()
    return PackEntry(
        shape=stored.properties.shape,
        recipe_sha256=stored.recipe_sha256,
        facts_bytes=len(facts),
        facts_crc32=zlib.crc32(facts),
        loses_labels=any(voxels.lost for voxels in stored.label_voxels.values()),
        content=b"".join((facts, *arrays.values())),
    )


def write_pack(path: Path, entries: Mapping[str, PackEntry]) -> None:
    """Write a pack, or remove it where nothing is left of it."""
    from safetensors.numpy import save_file

    if not entries:
        path.unlink(missing_ok=True)
        return
    ordered = {case: entries[case] for case in sorted(entries)}
    index = {
        case: [
            *entry.shape,
            entry.facts_bytes,
            entry.facts_crc32,
            entry.recipe_sha256,
            int(entry.loses_labels),
        ]
        for case, entry in ordered.items()
    }
    tensors = {
        str(number): np.frombuffer(entry.content, np.uint8) for number, entry in enumerate(ordered.values())
    }
    with atomic_path(path, durable=False) as temporary:
        save_file(tensors, temporary, {INDEX: json.dumps(index)})


def read_entry(case: PackedCase) -> PackEntry:
    """A packed case as it lies there, to write it anew."""
    return PackEntry(
        shape=case.shape,
        recipe_sha256=case.recipe_sha256,
        facts_bytes=case.facts_bytes,
        facts_crc32=case.facts_crc32,
        loses_labels=case.loses_labels,
        content=read_bytes(case, 0, case.stop - case.start),
    )


def read_facts(case: PackedCase) -> StoredCase:
    """The facts of a packed case.

    Raises:
        PreprocessingError: they are damaged.
    """
    content = read_bytes(case, 0, case.facts_bytes)
    if zlib.crc32(content) != case.facts_crc32:
        raise damaged(case.path, "damaged facts of a case (their checksum does not fit)", "as written")
    try:
        value = parse_json(content)
    except JsonTextError as problem:
        raise damaged(case.path, f"facts of a case that are no JSON: {problem}", "as written") from None
    stored = from_json(StoredCase, value, case.path, PreprocessingError)
    sizes = stored.stored_bytes.values()
    length = case.facts_bytes + sum(sizes)
    if length != case.stop - case.start or any(size < 0 for size in sizes):
        raise damaged(case.path, f"{case.stop - case.start} bytes of a case", f"{length} bytes")
    if stored.properties.shape != case.shape or stored.recipe_sha256 != case.recipe_sha256:
        raise damaged(case.path, "an index that says something else than the case", "as written")
    return stored


def read_array(
    case: PackedCase, stored: StoredCase, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """An array of a packed case, by the file name that it would have.

    Args:
        shape: with one axis of -1, whose length its size says.

    Raises:
        PreprocessingError: it is damaged.
    """
    import blosc2

    names = list(stored.stored_bytes)
    if name not in names:
        raise damaged(case.path, f"no {name} in it", "every array of the case")
    before = sum(stored.stored_bytes[other] for other in names[: names.index(name)])
    content = read_bytes(case, case.facts_bytes + before, stored.stored_bytes[name])
    if zlib.crc32(content) != stored.stored_crc32.get(name):
        raise damaged(case.path, f"damaged content of {name} (its checksum does not fit)", "as written")
    if not content:
        return np.zeros(tuple(max(0, length) for length in shape), dtype)
    row = np.dtype(dtype).itemsize * abs(math.prod(shape))
    size = int(np.frombuffer(content, "<u4", 1, 4)[0]) if len(content) >= _CHUNK_HEADER else 0
    if not 0 < size <= max(SMALL_VALUES * 4, _rows_bytes(stored, dtype)) or size % row:
        raise damaged(case.path, f"{name} says that it holds {size} bytes", f"a multiple of {row} bytes")
    try:
        return np.frombuffer(blosc2.decompress2(content, nthreads=1), dtype).reshape(shape)
    except (RuntimeError, ValueError) as problem:
        raise damaged(case.path, f"{name} cannot be unpacked: {problem}", "as written") from None


def _rows_bytes(stored: StoredCase, dtype: npt.DTypeLike) -> int:
    """Bytes of the locations of a case: its largest array, where it has many labels."""
    ends = [stop for _, stop in (*stored.foreground.values(), stored.annotated or (0, 0))]
    return 3 * np.dtype(dtype).itemsize * max(ends, default=0)


def read_bytes(case: PackedCase, start: int, length: int) -> bytes:
    """Part of a packed case.

    Raises:
        PreprocessingError: the pack is gone or shorter.
    """
    try:
        with case.path.open("rb") as file:
            file.seek(case.start + start)
            content = file.read(length)
    except OSError as problem:
        raise damaged(case.path, f"cannot be read: {problem.strerror}", "a pack of cases") from None
    if len(content) != length:
        raise damaged(case.path, "a shorter file than its index says", "a whole pack of cases")
    return content


def pack_of(store: Path, position: int) -> Path:
    """The pack of the case at a position among all cases of a dataset, in order of their names."""
    return pack_path(store, position // CASES)
