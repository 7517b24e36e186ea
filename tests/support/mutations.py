"""One engine of damage: bytes, JSON values, tables, compressed voxels, zips; the same seed gives the same
damage."""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

Mutation = Callable[[bytes, random.Random], bytes]

NUMBERS = (
    0,
    -1,
    1,
    2,
    255,
    256,
    32767,
    -32768,
    65535,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
    2**63 - 1,
    10**12,
    10**30,
    -(10**30),
)
TEXTS = (
    "",
    " ",
    "\x00",
    "../../x",
    "/etc/passwd",
    "C:\\x",
    "é漢字🙂",
    "‮abc",
    "a" * 5000,
    "NaN",
    "$HOME",
    "{}",
    "%s%n",
    "\ud83d",
)
WILD_NAMES = (
    "../../escaped.json",
    "/tmp/escaped.json",
    "a/../../b.json",
    "..\\x.json",
    ".hidden",
    "a\x00b.json",
    "x" * 300 + ".json",
    "d/",
)
ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"0": 0},
    0.1,
    -0.0,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
)


def mutate(content: bytes, chance: random.Random, kind: str) -> bytes:
    """Damage the content of a file.

    Args:
        kind: "bytes", "text", "json", "gzip" (what it holds), "png" (with checksums put right) or "zip" (its
            members).
    """
    choices: dict[str, tuple[Mutation, ...]] = {
        "bytes": (_bytes,),
        "text": (_bytes, _text_numbers, _text_lines),
        "json": (_json, _json, _json, _bytes, _text_numbers),
        "gzip": (_inside_gzip, _inside_gzip, _bytes),
        "png": (_png_header, _png_body, _bytes),
        "zip": (_zip_member, _zip_member, _zip_structure, _bytes),
    }
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(choices[kind])(content, chance)
    return content


def _bytes(content: bytes, chance: random.Random) -> bytes:
    return chance.choice(
        (_flip, _flip, _truncate, _splice, _insert, _delete, _huge_number, _huge_number, _run)
    )(content, chance)


def _flip(content: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(min(len(damaged), chance.choice((1, 1, 2, 8, 64)))):
        damaged[_position(damaged, chance)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def _truncate(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.choice((0, chance.randrange(len(content) + 1), max(0, len(content) - 1), 4, 100))]


def _splice(content: bytes, chance: random.Random) -> bytes:
    start, target, length = (
        chance.randrange(len(content) + 1),
        chance.randrange(len(content) + 1),
        chance.randrange(1, 200),
    )
    return content[:target] + content[start : start + length] + content[target + length :]


def _insert(content: bytes, chance: random.Random) -> bytes:
    position = chance.randrange(len(content) + 1)
    return content[:position] + chance.randbytes(chance.choice((1, 4, 100, 5000))) + content[position:]


def _delete(content: bytes, chance: random.Random) -> bytes:
    position = chance.randrange(len(content) + 1)
    return content[:position] + content[position + chance.choice((1, 2, 8, 300)) :]


def _huge_number(content: bytes, chance: random.Random) -> bytes:
    """Overwrite an aligned field, most often one near the start, where headers are."""
    form = chance.choice(("<h", "<i", "<q", "<f", "<d", ">h", ">i", ">q", ">d"))
    number = chance.choice(NUMBERS)
    if form[1] in "fd":
        field = struct.pack(
            form,
            chance.choice(
                (float("nan"), float("inf"), -1e30, 1e30, 0.0, -0.0, 1e-300 if form[1] == "d" else 1e-40)
            ),
        )
    else:
        size = 8 * struct.calcsize(form)
        field = struct.pack(form, max(-(1 << size - 1), min((1 << size - 1) - 1, number)))
    limit = min(len(content), chance.choice((64, 400, len(content)))) + 1
    position = chance.randrange(limit) // len(field) * len(field)
    return content[:position] + field + content[position + len(field) :]


def _run(content: bytes, chance: random.Random) -> bytes:
    position, length = chance.randrange(len(content) + 1), chance.choice((4, 16, 300))
    return content[:position] + bytes([chance.choice((0, 255, 32))]) * length + content[position + length :]


def _position(content: bytearray, chance: random.Random) -> int:
    return chance.randrange(min(len(content), chance.choice((64, 512, len(content)))) or 1)


def _text_numbers(content: bytes, chance: random.Random) -> bytes:
    """Replace numbers of a text, such as the sizes in an NRRD or MHA header."""
    found = list(re.finditer(rb"-?\d+\.?\d*", content[:65536]))
    if not found:
        return _bytes(content, chance)
    match = chance.choice(found)
    new = chance.choice(
        (*(str(number) for number in NUMBERS), "nan", "inf", "1e999", "0.0", "x", "")
    ).encode()
    return content[: match.start()] + new + content[match.end() :]


def _text_lines(content: bytes, chance: random.Random) -> bytes:
    """Drop, repeat, swap or fill lines."""
    lines = content.split(b"\n")
    index = chance.randrange(len(lines))
    action = chance.randrange(5)
    if action == 0:
        del lines[index]
    elif action == 1:
        lines.insert(index, lines[chance.randrange(len(lines))])
    elif action == 2:
        lines[index] = chance.choice(TEXTS).encode("utf-8", "surrogatepass")
    elif action == 3:
        lines[index] += chance.choice((b",", b'"', b",,,,", b"\r", b"\x00", b";", b"a" * 200_000))
    else:
        chance.shuffle(lines)
    return b"\n".join(lines)


def _json(content: bytes, chance: random.Random) -> bytes:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return _bytes(content, chance)
    action = chance.randrange(10)
    if action == 0:
        return _nest(chance)
    if action == 1:
        return _twice(content, chance)
    places = list(_places(value))
    if not places:
        return json.dumps(_odd(chance)).encode()
    holder, key = chance.choice(places)
    if action == 2:
        del holder[key]
    elif action == 3:
        other, other_key = chance.choice(places)
        holder[key] = json.loads(json.dumps(other[other_key])) if other is not holder else other[other_key]
    elif action == 4 and isinstance(holder, dict):
        holder[chance.choice(TEXTS)] = holder.pop(key)
    elif action == 5 and isinstance(holder, list):
        holder.extend(holder[:] * chance.choice((1, 3)))
    else:
        holder[key] = _odd(chance)
    try:
        return json.dumps(value, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    except RecursionError:  # damaged before, by nesting
        return _bytes(content, chance)


def _odd(chance: random.Random) -> Any:
    return chance.choice(
        (
            *ODD_VALUES,
            chance.choice(NUMBERS),
            chance.choice(NUMBERS),
            chance.choice(TEXTS),
            chance.choice(TEXTS),
            10**400,
        )
    )


def _nest(chance: random.Random) -> bytes:
    depth = chance.choice((100, 900, 5_000, 100_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return opening * depth + b"1" + closing * (depth if chance.random() < 0.7 else 0)


def _twice(content: bytes, chance: random.Random) -> bytes:
    """A key given twice, the second time with another value."""
    keys = re.findall(rb'"[^"\n]*":', content)
    if not keys:
        return _bytes(content, chance)
    position = content.rfind(b"}")
    odd = json.dumps(_odd(chance)).encode()
    return content[:position] + b"," + chance.choice(keys) + odd + content[position:]


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) below a JSON value."""
    found: list[tuple[Any, Any]] = []
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, item in entries:
        found.append((value, key))
        found += _places(item)
    return found


def _inside_gzip(content: bytes, chance: random.Random) -> bytes:
    try:
        return gzip.compress(_bytes(gzip.decompress(content), chance), 1, mtime=0)
    except (OSError, EOFError, zlib.error):
        return _bytes(content, chance)


def _png_header(content: bytes, chance: random.Random) -> bytes:
    """Width, height, depth or colour type of a PNG, its checksum put right."""
    if len(content) < 33 or content[12:16] != b"IHDR":
        return _bytes(content, chance)
    header = bytearray(content[16:29])
    if chance.random() < 0.7:
        struct.pack_into(
            ">I", header, chance.choice((0, 4)), chance.choice((0, 1, 2**16, 2**24, 2**31 - 1, 10**6))
        )
    else:
        header[chance.choice((8, 9, 10, 11, 12))] = chance.randrange(256)
    return content[:16] + bytes(header) + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + content[33:]


def _png_body(content: bytes, chance: random.Random) -> bytes:
    """The compressed pixels of a PNG, checksums put right."""
    start = content.find(b"IDAT")
    if start < 0:
        return _bytes(content, chance)
    (length,) = struct.unpack(">I", content[start - 4 : start])
    body = _bytes(content[start + 4 : start + 4 + length], chance)
    chunk = b"IDAT" + body
    return (
        content[: start - 4]
        + struct.pack(">I", len(body))
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + content[start + 8 + length :]
    )


def _zip_member(content: bytes, chance: random.Random) -> bytes:
    """Damage one member; the zip itself stays sound."""
    members = _members(content)
    if not members:
        return _bytes(content, chance)
    name = chance.choice(list(members))
    members[name] = mutate(members[name], chance, "json" if name.endswith(".json") else "bytes")
    return _zipped(list(members.items()), chance)


def _zip_structure(content: bytes, chance: random.Random) -> bytes:
    """Rename, add, drop or repeat members."""
    members = list(_members(content).items())
    if not members:
        return _bytes(content, chance)
    index = chance.randrange(len(members))
    name, body = members[index]
    action = chance.randrange(4)
    wild = chance.choice(
        (
            "../../escaped.json",
            "/tmp/escaped.json",
            "a/../../b.json",
            "..\\x.json",
            ".hidden",
            "a\x00b.json",
            "x" * 300 + ".json",
            "d/",
        )
    )
    if action == 0:
        members[index] = (wild, body)
    elif action == 1:
        members.append((wild, body))
    elif action == 2:
        del members[index]
    else:
        members.append((name, chance.choice((body, b"", b"\x00" * 2_000_000))))
    return _zipped(members, chance)


def _members(content: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return {}


def _zipped(members: list[tuple[str, bytes]], chance: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()
