"""Are the headers of MHA, NRRD and GIPL files what they should be? Asked before ITK sees them.

ITK's readers trust these headers: absurd numbers of axes and overlong fields make them write beyond their
buffers, absurd sizes make them ask for terabytes, and a header may name another file to read voxels from.
Only what ITK interprets is checked: writers take along whatever tags the image was read with.
"""

from __future__ import annotations

import math
import re
import struct
from pathlib import Path

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio.inflate import LARGEST_RATIO

LONGEST_FIELD = 1000  # characters; NRRD's key:=value pairs, which carry tags of segments, may be longer
LONGEST_HEADER = 1 << 20
MOST_AXES = 4
MOST_CHANNELS = 1 << 16
LONGEST_NAME = 500  # of a field; ITK writes no longer ones, and reads none
GIPL_HEADER_BYTES = 256
GIPL_BYTES = {1: 0.125, 7: 1, 8: 1, 15: 2, 16: 2, 31: 4, 32: 4, 64: 4, 65: 8}  # image type -> bytes per voxel
MHA_FIELDS = frozenset(
    [
        "ObjectType",
        "ObjectSubType",
        "Comment",
        "Name",
        "ID",
        "ParentID",
        "NDims",
        "DimSize",
        "HeaderSize",
        "TransformMatrix",
        "Rotation",
        "Orientation",
        "Offset",
        "Position",
        "Origin",
        "CenterOfRotation",
        "AnatomicalOrientation",
        "DistanceUnits",
        "Color",
        "AcquisitionDate",
        "Modality",
        "SequenceID",
        "BinaryData",
        "BinaryDataByteOrderMSB",
        "ElementByteOrderMSB",
        "CompressedData",
        "CompressedDataSize",
        "CompressionLevel",
        "ElementSpacing",
        "ElementSize",
        "ElementType",
        "ElementMin",
        "ElementMax",
        "ElementNBits",
        "ElementNumberOfChannels",
        "ElementToIntensityFunctionSlope",
        "ElementToIntensityFunctionOffset",
        "ElementDataFile",
    ]
)
MHA_BYTES = {"CHAR": 1, "SHORT": 2, "INT": 4, "LONG": 4, "LONG_LONG": 8, "FLOAT": 4, "DOUBLE": 8}
NRRD_BYTES = {
    re.compile(r"(signed |unsigned )?char|u?int8(_t)?|uchar"): 1,
    re.compile(r"(signed |unsigned )?short( int)?|u?int16(_t)?|ushort"): 2,
    re.compile(r"(signed |unsigned )?int|u?int32(_t)?|uint|float"): 4,
    re.compile(r"(signed |unsigned )?long long( int)?|u?longlong|u?int64(_t)?|double"): 8,
}
NUMBER = r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,3})?"
NUMBERS = re.compile(rf"\s*{NUMBER}(\s+{NUMBER})*\s*")
Fields = dict[str, str]


def refuse_unsound_header(path: Path) -> int | None:
    """Check the header of an MHA, NRRD or GIPL file; other files, and missing ones, are passed over.

    Returns:
        The bytes of voxels that the header announces; None where nothing was checked.

    Raises:
        ImageError: a field is missing, overlong or absurd, or the file is too small for the voxels that it
            announces.
    """
    check = CHECKS.get(path.suffix.lower())
    if check is None:
        return None
    try:
        with path.open("rb") as stream:
            start = stream.read(LONGEST_HEADER)
        size = path.stat().st_size
    except OSError:
        return None  # the reader itself says what is wrong with the path
    return check(path, start, size)


def _check_mha(path: Path, start: bytes, size: int) -> int:
    end = re.search(rb"^ElementDataFile[ \t]*=[^\n]*\n", start, re.MULTILINE)
    if end is None:
        raise _unsound(path, "no ElementDataFile")
    fields = _mha_fields(path, _text(path, start[: end.end()]))
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise _in_another_file(path, fields["ElementDataFile"])
    axes = _whole(path, fields, "NDims", 1, MOST_AXES)
    sizes = _wholes(path, fields.get("DimSize", ""), axes)
    channels = _whole(path, fields, "ElementNumberOfChannels", 1, MOST_CHANNELS, 1)
    lengths = {
        "ElementSpacing": axes,
        "ElementSize": axes,
        "Offset": axes,
        "Position": axes,
        "Origin": axes,
        "CenterOfRotation": axes,
    }
    lengths |= {"TransformMatrix": axes**2, "Rotation": axes**2, "Orientation": axes**2}
    for name, count in lengths.items():
        if name in fields and (not NUMBERS.fullmatch(fields[name]) or len(fields[name].split()) != count):
            raise _unsound(path, f"{name} = {fields[name][:60]!r}")
    kind = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    if kind.removeprefix("U") not in MHA_BYTES:
        raise _unsound(path, f"ElementType = {kind[:60]!r}")
    compressed = _is_true(fields.get("CompressedData", ""))
    if compressed:
        _require_packed_size(path, fields.get("CompressedDataSize", "nothing"), size - end.end())
    as_text = not compressed and not _is_true(fields.get("BinaryData", "True"))
    voxel_bytes = 1 if as_text else MHA_BYTES[kind.removeprefix("U")]
    announced = _require_voxels(path, math.prod(sizes) * channels * voxel_bytes, size - end.end(), compressed)
    skipped = fields.get("HeaderSize", "0")
    if skipped not in ("0", "-1"):
        counted = re.fullmatch(r"\d{1,15}", skipped) and not (compressed or as_text)
        followed = counted and end.end() <= int(skipped) <= size - announced  # from the file's beginning
        raise _with_skips(path, f"bytes to skip: HeaderSize = {skipped[:60]}", bool(followed))
    _require_no_scale(path, fields, channels)
    return announced


def _require_no_scale(path: Path, fields: Fields, channels: int) -> None:
    """ITK passes over the scale of intensities and returns what is stored."""
    names = ("ElementToIntensityFunctionSlope", "ElementToIntensityFunctionOffset")
    said = [fields.get(name, default) for name, default in zip(names, ("1", "0"), strict=True)]
    if not all(re.fullmatch(NUMBER, text) for text in said):
        raise _unsound(path, f"{' and '.join(names)} {said}")
    slope, offset = map(float, said)
    if (slope, offset) != (1, 0):
        read = f"sitk.ReadImage({path.name!r})"
        apply = f"{slope!r} * sitk.Cast({read}, sitk.sitkFloat32) + {offset!r}"
        if channels > 1:  # SimpleITK multiplies no vectors
            one = f"{slope!r} * sitk.VectorIndexSelectionCast({read}, n, sitk.sitkFloat32) + {offset!r}"
            apply = f"sitk.Compose([{one} for n in range({channels})])"
        raise ImageError(
            path,
            found=f"stored values that mean {slope:g} · value + {offset:g} ({names[0]}, {names[1]})",
            expected="values that are stored as they are",
            fix=f"apply it: sitk.WriteImage({apply}, 'scaled_{path.name}')",
        )


def _is_true(value: str) -> bool:
    """As ITK sees it, which looks at the first letter."""
    return value[:1] in ("T", "t", "1")


def _require_packed_size(path: Path, said: str, present: int) -> None:
    """Without it, or where it is more than there is, ITK returns packed bytes as voxels."""
    if not re.fullmatch(r"\d{1,15}", said) or not 0 < int(said) <= present:
        raise ImageError(
            path,
            found=f"CompressedDataSize of {said[:60]} before {present} bytes of compressed voxels",
            expected="their number of bytes",
            fix=f"write 'CompressedDataSize = {present}' into a copy's header; leave the case out if the "
            "file was cut short",
        )


def _mha_fields(path: Path, header: str) -> Fields:
    """The fields that ITK interprets; others, such as DICOM tags, are passed over however long they are."""
    fields: Fields = {}
    for line in header.split("\n"):
        name, equals, value = line.partition("=")
        name = name.strip()
        if not line.strip():
            continue
        if not equals and ":" not in line:
            raise _unsound(path, f"a line that is no NAME = VALUE, which ITK cannot read: {line[:60]!r}")
        known = name in MHA_FIELDS
        if len(name) > LONGEST_NAME or (known and (name in fields or len(line) > LONGEST_FIELD)):
            raise _unsound(path, f"the line {line[:60]!r}")
        if known:
            fields[name] = value.strip()
    return fields


def _check_nrrd(path: Path, start: bytes, size: int) -> int:
    end = re.search(rb"\r?\n\r?\n", start)
    if not start.startswith(b"NRRD000") or end is None:
        raise _unsound(path, "no NRRD header that ends with an empty line")
    fields: Fields = {}
    for line in _text(path, start[: end.start()]).splitlines()[1:]:
        if line.startswith("#") or ":=" in line:
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()  # as ITK takes names, types and encodings
        if not colon or name in fields or len(line) > LONGEST_FIELD:
            raise _unsound(path, f"the line {line[:60]!r}")
        fields[name] = value.strip()
    elsewhere = fields.get("data file", fields.get("datafile"))
    if elsewhere is not None:
        raise _in_another_file(path, elsewhere)
    axes = _whole(path, fields, "dimension", 1, MOST_AXES)
    sizes = _wholes(path, fields.get("sizes", ""), axes)
    kind = " ".join(fields.get("type", "").lower().split())
    voxel_bytes = next((size for pattern, size in NRRD_BYTES.items() if pattern.fullmatch(kind)), None)
    if voxel_bytes is None:
        raise _unsound(path, f"type: {kind[:60]!r}")
    encoding = fields.get("encoding", "").lower()
    if encoding in ("bzip2", "bz2"):
        raise ImageError(
            path,
            found=f"encoding {encoding}, which ITK does not unpack",
            expected="encoding gzip or raw",
            fix="save it again with encoding gzip (teem: unu save -e gzip -f nrrd -i OLD -o NEW)",
        )
    if encoding not in ("raw", "gzip", "gz", "ascii", "text", "txt", "hex"):
        raise _unsound(path, f"encoding: {encoding[:60]!r}")
    present, packed = size - end.end(), encoding != "raw"
    announced = _require_voxels(path, math.prod(sizes) * voxel_bytes, present, packed)
    lines, skipped = _either(fields, "line skip", "lineskip"), _either(fields, "byte skip", "byteskip")
    if (lines, skipped) != ("0", "0"):
        counted = re.fullmatch(r"\d{1,9}", lines) and re.fullmatch(r"\d{1,15}|-1", skipped) and not packed
        followed = counted and int(skipped) + int(lines) <= present - announced
        raise _with_skips(path, "lines or bytes to skip", bool(followed))
    return announced


def _either(fields: Fields, *names: str) -> str:
    """What the fields say that have one of these names: "0" for none, no number for several."""
    return " and ".join(fields[name] for name in names if name in fields) if {*names} & {*fields} else "0"


def _check_gipl(path: Path, start: bytes, size: int) -> int:
    if len(start) < GIPL_HEADER_BYTES:
        raise _unsound(path, f"{len(start)} bytes")
    *sizes, kind = struct.unpack(">5H", start[:10])
    if kind not in GIPL_BYTES or min(sizes[:2]) < 1:
        raise _unsound(path, f"size {' × '.join(map(str, sizes))} of image type {kind}")
    return _require_voxels(
        path,
        math.prod(max(1, length) for length in sizes) * GIPL_BYTES[kind],
        size - GIPL_HEADER_BYTES,
        False,
    )


CHECKS = {".mha": _check_mha, ".nrrd": _check_nrrd, ".gipl": _check_gipl}


def _text(path: Path, header: bytes) -> str:
    try:
        text = header.decode("utf-8")
    except UnicodeDecodeError:
        text = header.decode("latin-1")
    if "\0" in text:
        raise _unsound(path, "a header with zero bytes")
    return text


def _whole(path: Path, fields: Fields, name: str, least: int, most: int, default: int | None = None) -> int:
    text = fields.get(name, "" if default is None else str(default))
    if not re.fullmatch(r"\d{1,9}", text) or not least <= int(text) <= most:
        raise _unsound(path, f"{name} {text[:60]!r}")
    return int(text)


def _wholes(path: Path, text: str, count: int) -> list[int]:
    if (
        not re.fullmatch(r"\d{1,9}(\s+\d{1,9})*", text)
        or len(text.split()) != count
        or min(map(int, text.split())) < 1
    ):
        raise _unsound(path, f"sizes {text[:60]!r}")
    return [int(part) for part in text.split()]


def _require_voxels(path: Path, announced: float, present: int, compressed: bool) -> int:
    if announced > present * (LARGEST_RATIO if compressed else 1):
        raise _unsound(path, f"{present} bytes of voxels where the header announces {announced:.0f}")
    return math.ceil(announced)


def one_file_fix(path: Path) -> str:
    """How a header and the file of its voxels become one file, which cannot be parted."""
    endings = {".mhd": ".mha", ".nhdr": ".nrrd"}
    whole = path.stem + endings.get(path.suffix.lower(), f"_whole{path.suffix}")
    return f"make it one file: sitk.WriteImage(sitk.ReadImage({path.name!r}), {whole!r})"


def _with_skips(path: Path, found: str, followed: bool) -> ImageError:
    """Bytes between header and voxels, which ITK follows in raw voxels that are there as a whole."""
    if not followed:
        return _unsound(path, found)
    return ImageError(
        path,
        found=f"a header with {found}",
        expected="voxels right behind the header",
        fix=f"save it again: sitk.WriteImage(sitk.ReadImage({path.name!r}), 'whole_{path.name}')",
    )


def _in_another_file(path: Path, name: str) -> ImageError:
    return ImageError(
        path,
        found=f"a header whose voxels are in another file: {name[:60]!r}",
        expected="header and voxels in one file",
        fix=one_file_fix(path),
    )


def _unsound(path: Path, found: str) -> ImageError:
    return ImageError(
        path,
        found=f"a header with {found}" if not found[0].isdigit() else found,
        expected="a whole file with a sound header",
        fix="copy or export the file again; leave the case out if the original is damaged",
    )
