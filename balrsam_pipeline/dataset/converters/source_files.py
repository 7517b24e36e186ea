"""The image files of a folder to convert: which there are, which are passed over, and how they are read."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from balrsam_pipeline import printable
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import (
    FILE_ENDINGS,
    Image,
    as_label,
    place_held,
    read_image,
    stored_orientation,
)
from balrsam_pipeline.imageio import pillow_io as pillow
from balrsam_pipeline.imageio.formats import format_of

LOG = logging.getLogger(__name__)
GIF = ".gif"  # read here alone: data sets that predate PNG have their masks in it; nothing is written in it
PICTURES = (".png", ".bmp", ".jpg", ".jpeg", GIF)
TIFFS = (".tif", ".tiff")
LISTED = 20  # file names in a message


def ending_of(path: Path) -> str:
    """The ending that says how a file is read, in small letters; '' for what is no image here.

    Example:
        >>> ending_of(Path("21_manual1.GIF")), ending_of(Path("liver.nii.gz")), ending_of(Path("notes.txt"))
        ('.gif', '.nii.gz', '')
    """
    name = path.name.lower()
    return next((ending for ending in (*FILE_ENDINGS, GIF) if name.endswith(ending)), "")


def stem_of(path: Path) -> str:
    """The name without the ending of its format."""
    return path.name[: len(path.name) - len(ending_of(path))]


def listed(names: Sequence[str]) -> str:
    """Names for a message of converters, which show more of them than others."""
    return printable.listed(names, LISTED)


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name; other files are named in a warning, hidden ones are not.

    Raises:
        DatasetError: no such folder.
    """
    if not folder.is_dir():
        raise DatasetError(
            folder,
            found="no such folder",
            expected="a folder of images",
            fix="name the folders, as they are called inside the source: --images FOLDER --masks FOLDER",
        )
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not path.name.startswith(".")]
    images = [path for path in files if ending_of(path)]
    spacings = {f"{stem_of(path)}.json" for path in images}
    others = (path for path in files if not ending_of(path) and path.name not in spacings)
    warn_of_passed_over(folder, others, "no images")
    return images


def warn_of_passed_over(folder: Path, paths: Iterable[Path], why: str) -> None:
    """Name the files of a folder that a converter does not take; hidden ones are nobody's.

    Args:
        why: what they are not, such as "no cases".
    """
    names = sorted(path.name for path in paths if not path.name.startswith("."))
    if names:
        LOG.warning("%s: %s, passed over: %s", folder, why, listed(names))


def turned_upright(path: Path) -> int:
    """EXIF's number of how a picture is turned when it is read; 1 where it is not."""
    return 1 if ending_of(path) == GIF else stored_orientation(path)


def read_source_image(path: Path) -> Image:
    """Read an image (channel, z, y, x), GIF too.

    Raises:
        ImageError: it cannot be read.
    """
    return _read_gif(path) if ending_of(path) == GIF else read_image([path])


def has_place(path: Path) -> bool:
    """Whether files of this kind say where in the patient their voxels lie, and how large they are."""
    return ending_of(path) != GIF and bool(place_held(path))


def read_source_mask(path: Path, as_colours: bool) -> Image:
    """Read a mask of whole numbers (channel, z, y, x).

    Args:
        as_colours: look up the colours of a palette, instead of taking its indices; of a GIF always, since
            writers number its colours as they please.

    Raises:
        ImageError: it cannot be read; DatasetError: it holds fractions.
    """
    if ending_of(path) == GIF:
        mask = _read_gif(path)
    else:
        form = format_of(path)
        mask = (form.read if as_colours else form.read_label)(path)
    return Image(as_label(mask.data, path), mask.geometry)


def _read_gif(path: Path) -> Image:
    """One channel where all colours are greys; else three."""
    image = pillow.read(path)
    grey = image.data.shape[0] == 3 and bool(np.all(image.data == image.data[:1]))
    return Image(image.data[:1], image.geometry) if grey else image
