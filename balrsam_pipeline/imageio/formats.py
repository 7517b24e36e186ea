"""Which file ending is read and written by what: one explicit dict."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import nifti, npz, pillow_io, simpleitk_io, tiff
from balrsam_pipeline.imageio.geometry import Geometry, Image
from balrsam_pipeline.imageio.itk_guard import one_file_fix
from balrsam_pipeline.printable import is_utf8

PLACE = ("direction", "origin")  # what tells where in space voxels lie


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How files of one ending are read and written.

    Attributes:
        write_label: where a label map is written otherwise than an image.
        several_channels: whether one file may hold several channels (colours).
        lossy: whether writing changes values, so that labels must not be kept in it.
        loses: what of `PLACE` it does not hold.
        stored_orientation: EXIF's number of how a picture is turned to stand upright, where files say so.
    """

    read: Callable[[Path], Image]
    read_label: Callable[[Path], Image]
    read_geometry: Callable[[Path], Geometry]
    write: Callable[[Path, npt.NDArray[Any], Geometry], None]
    several_channels: bool
    lossy: bool = False
    loses: tuple[str, ...] = ()
    write_label: Callable[[Path, npt.NDArray[Any], Geometry], None] | None = None
    stored_orientation: Callable[[Path], int] | None = None


_NIFTI = Format(
    read=nifti.read,
    read_label=nifti.read_label,
    read_geometry=nifti.read_geometry,
    write=nifti.write,
    several_channels=False,
)
_MEDICAL = Format(
    read=simpleitk_io.read,
    read_label=simpleitk_io.read,
    read_geometry=simpleitk_io.read_geometry,
    write=simpleitk_io.write,
    several_channels=True,
)
_GIPL = replace(_MEDICAL, loses=("direction",))
_PICTURE = Format(
    read=pillow_io.read,
    read_label=pillow_io.read_label,
    read_geometry=pillow_io.read_geometry,
    write=pillow_io.write,
    stored_orientation=pillow_io.stored_orientation,
    several_channels=True,
    loses=PLACE,
)
_JPEG = replace(_PICTURE, lossy=True)
_TIFF = Format(
    read=tiff.read,
    read_label=tiff.read_label,
    read_geometry=tiff.read_geometry,
    write=tiff.write,
    stored_orientation=tiff.stored_orientation,
    several_channels=True,
    loses=PLACE,
)

_ARRAYS = Format(
    read=npz.read,
    read_label=npz.read_label,
    read_geometry=npz.read_geometry,
    write=npz.write,
    write_label=npz.write_label,
    several_channels=True,
    loses=PLACE,
)

FILE_ENDINGS: dict[str, Format] = {
    ".nii.gz": _NIFTI,
    ".nii": _NIFTI,
    ".mha": _MEDICAL,
    ".nrrd": _MEDICAL,
    ".gipl": _GIPL,
    ".png": _PICTURE,
    ".bmp": _PICTURE,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}
PICTURE_ENDINGS = tuple(ending for ending, form in FILE_ENDINGS.items() if form in (_PICTURE, _JPEG))
# pictures, and stacks whose spacing is in a file beside them
NATURAL_ENDINGS = tuple(ending for ending, form in FILE_ENDINGS.items() if form in (_PICTURE, _JPEG, _TIFF))
# no images where they stand beside an image of the same case: nnU-Net keeps probabilities in such files
NAMED_ENDINGS: dict[str, Format] = {npz.ENDING: _ARRAYS}
ALL_ENDINGS: dict[str, Format] = FILE_ENDINGS | NAMED_ENDINGS
# images, too, of formats that are not read from folders
UNREAD_ENDINGS = (
    ".mhd",
    ".nhdr",
    ".hdr",
    ".img",
    ".img.gz",
    ".nii.bz2",
    ".nii.xz",
    ".nii.zst",
    ".nii.zip",
    ".mgz",
    ".mgh",
    ".mnc",
    ".npy",
    ".gif",
    ".webp",
    ".jp2",
    ".heic",
)
CHANNEL_NUMBER = re.compile(r"_[0-9]{4}$")


def known_ending(path: Path, endings: Iterable[str] = FILE_ENDINGS) -> str:
    """The ending of a file among those given, in small letters; '' for any other."""
    name = path.name.lower()
    return next((ending for ending in endings if name.endswith(ending)), "")


def images_among(files: Iterable[Path]) -> list[Path]:
    """The files of a folder that are images: of the usual endings, and `.npz` where no image of the usual
    endings is there for the same case; names that begin with a dot are nobody's image.

    Example:
        >>> [path.name for path in images_among([Path("a.nii.gz"), Path("a.npz"), Path("b.npz")])]
        ['a.nii.gz', 'b.npz']
    """
    shown = [path for path in files if not path.name.startswith(".")]
    cases = _names_of(path for path in shown if known_ending(path))
    return [
        path
        for path in shown
        if known_ending(path) or (known_ending(path, NAMED_ENDINGS) and path.stem not in cases)
    ]


def unread_images(files: Iterable[Path]) -> list[Path]:
    """The files of a folder that are images by their endings, of formats that are not read; not those beside
    an image of the same case that is read, nor names that begin with a dot.

    Example:
        >>> [path.name for path in unread_images([Path("a.mhd"), Path("b.nii.gz"), Path("b.webp")])]
        ['a.mhd']
    """
    shown = [path for path in files if not path.name.startswith(".")]
    cases = _names_of(images_among(shown))
    endings = {path: known_ending(path, UNREAD_ENDINGS) for path in shown}
    return [path for path, ending in endings.items() if ending and path.name[: -len(ending)] not in cases]


def _names_of(images: Iterable[Path]) -> set[str]:
    """What images are called without their endings, with a channel's number and without."""
    stems = {path.name[: -len(known_ending(path, ALL_ENDINGS))] for path in images}
    return stems | {CHANNEL_NUMBER.sub("", stem) for stem in stems}


def file_ending_of(path: Path) -> str:
    """The known ending of a file name, such as ".nii.gz", in small letters.

    Raises:
        ImageError: no reader knows the ending.

    Example:
        >>> file_ending_of(Path("case_0000.NII.GZ"))
        '.nii.gz'
    """
    ending = known_ending(path, ALL_ENDINGS)
    if ending:
        return ending
    raise ImageError(
        path,
        found=f"file ending '{path.suffix}'",
        expected=f"one of {', '.join(ALL_ENDINGS)}",
        fix=one_file_fix(path)
        if path.suffix.lower() in (".mhd", ".nhdr")
        else "convert the file to one of these formats (balrsam convert --help)",
    )


def format_of(path: Path) -> Format:
    """The format of a file by its name.

    Raises:
        ImageError: no reader knows the ending, or the name is not UTF-8, which the libraries cannot take.
    """
    require_utf8(path)
    return ALL_ENDINGS[file_ending_of(path)]


def place_held(*paths: Path) -> tuple[str, ...]:
    """What of `PLACE` the formats of all these files hold: where it is not held, headers say nothing that
    could be compared.

    Raises:
        ImageError: as `format_of`.

    Example:
        >>> place_held(Path("a.nii.gz"), Path("b.gipl"))
        ('origin',)
    """
    lost = {what for path in paths for what in format_of(path).loses}
    return tuple(what for what in PLACE if what not in lost)


def require_utf8(path: Path) -> None:
    """Refuse a name that is not UTF-8, at which SimpleITK ends the process.

    Raises:
        ImageError: it is not.
    """
    if not is_utf8(path):
        raise ImageError(
            str(path).encode("utf-8", "backslashreplace").decode(),
            found="a name that is not UTF-8",
            expected="a name in UTF-8",
            fix="rename it (convmv renames whole folders: convmv -f latin1 -t utf8 --notest -r FOLDER)",
        )


def label_ending(file_ending: str) -> str:
    """The ending of label files in a dataset of this ending: the same, but PNG where the images are JPEG,
    which changes values."""
    return ".png" if ALL_ENDINGS[file_ending].lossy else file_ending
