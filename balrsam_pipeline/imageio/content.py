"""What a file is by its first bytes: for messages about files that are not what their name says."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.errors import ImageError

_PAGE, _TEXT = "a web page or XML", "a JSON file"
POINTERS = {  # how files begin that stand for others, which were not fetched
    b"version https://git-lfs": "a pointer of Git LFS, not the file that it stands for",
    b"../.git/annex": "a pointer of git-annex, not the file that it stands for",
    b"/annex/objects": "a pointer of git-annex, not the file that it stands for",
}
_STARTS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG"),
    (0, b"\xff\xd8\xff", "a JPEG"),
    (0, b"GIF8", "a GIF"),
    (0, b"BM", "a BMP"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (0, b"II+\0", "a TIFF"),
    (8, b"WEBP", "a WebP"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"%PDF", "a PDF"),
    (128, b"DICM", "a DICOM file"),
    (0, b"\x1f\x8b", "a gzip file"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"NRRD", "a NRRD"),
    (0, b"ObjectType", "an MHA"),
    (0, b"<", _PAGE),
    (0, b"{", _TEXT),
    *((0, start, name) for start, name in POINTERS.items()),
    (4, b"ftyp", "a HEIC, AVIF or video file"),
)


_AGAIN = "copy or export the file again; leave the case out if the original is damaged"
_FETCH = "fetch the file that the pointer stands for: git lfs pull, datalad get or git annex get"
_SERVER = (
    "it was saved in the image's place (a login page, a server's error): log in, and fetch the file again"
)
_FIXES = {
    **dict.fromkeys(("an empty file", "something else", "a file of zeros or blanks"), _AGAIN),
    **dict.fromkeys(POINTERS.values(), _FETCH),
    **dict.fromkeys((_PAGE, _TEXT), _SERVER),
}


def kind_of_content(path: Path) -> str:
    """What the first bytes of a file look like, such as "a JPEG"; "an empty file", or "something else"."""
    with path.open("rb") as stream:
        return _kind_of(stream.read(256))


def _kind_of(start: bytes) -> str:
    if not start.strip(b"\0 \t\r\n"):
        return "an empty file" if not start else "a file of zeros or blanks"
    return next(
        (name for place, magic, name in _STARTS if start[place:].lstrip().startswith(magic)), "something else"
    )


def not_this_format(path: Path, name: str, start: bytes | None = None) -> ImageError:
    """The error for a file whose content is not the format that its ending says; no other format is tried.

    Args:
        start: how the content begins, where it is unpacked on the way; None looks into the file.
    """
    kind = kind_of_content(path) if start is None else _kind_of(start[:256])
    return ImageError(
        path,
        found=f"no {name} but {kind}",
        expected=f"a {name}, as the name says",
        fix=_FIXES.get(kind)
        or f"save it as {name} (renaming is not enough), or give it the ending of what it is",
    )
