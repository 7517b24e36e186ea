"""What grand-challenge hands to an algorithm: `inputs.json` names sockets, and each has a folder with one
image under a name that says nothing, or with the files of one DICOM series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.files import read_json
from balrsam_pipeline.imageio import write_image
from balrsam_pipeline.imageio.dicom import find_series, read_series
from balrsam_pipeline.imageio.dicom_files import folders_of

INPUTS = "inputs.json"
IMAGES = (".mha", ".tif", ".tiff", ".nii.gz", ".nii", ".png", ".jpg", ".jpeg")
DICOM = ".dcm"
OUTPUT = "output"
WORDS = ("interface", "socket")  # grand-challenge's word for a socket, formerly and now
LOG = logging.getLogger(__name__)


def sockets_of(folder: Path) -> dict[str, Path]:
    """Slug -> folder of every socket that `inputs.json` names.

    Raises:
        PredictionError: it is malformed, or leads out of the input folder.
    """
    path = folder / INPUTS
    found: dict[str, Path] = {}
    try:
        for entry in read_json(path, PredictionError):
            socket: dict[str, Any] = next(entry[word] for word in WORDS if word in entry)
            place = folder / str(socket["relative_path"])
            if not place.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"'{socket['relative_path']}' lies elsewhere")
            found[str(socket["slug"])] = place
    except (AttributeError, KeyError, StopIteration, TypeError, ValueError) as problem:
        raise PredictionError(
            path,
            found=f"an entry that cannot be read: {problem!r}",
            expected='[{"interface": {"slug": …, "relative_path": …}}, …]',
            fix="check the input's layout, or the interfaces of the algorithm",
        ) from None
    return found


def case_of(folder: Path, slugs: Sequence[str], scratch: Path) -> CaseFiles:
    """The case that an input folder holds: one image of each socket, in the order of channels.

    Args:
        scratch: where a DICOM series is written as one file.

    Raises:
        PredictionError: the sockets are others, or one does not hold one image.
    """
    there = sockets_of(folder)
    key = tuple(sorted(there))
    if not set(slugs) <= set(there):
        raise PredictionError(
            folder / INPUTS,
            found=f"sockets {', '.join(key) or 'none'}",
            expected=f"sockets {', '.join(sorted(slugs))}",
            fix="give the algorithm's interface these sockets, or make the container anew with --input-slugs",
        )
    beside = sorted(set(there) - set(slugs))
    if beside:
        LOG.info("sockets that the model does not look at: %s", ", ".join(beside))
    files = tuple(_image_in(there[slug], slug, scratch / slug) for slug in slugs)
    return CaseFiles(OUTPUT, files)


def _image_in(folder: Path, slug: str, scratch: Path) -> Path:
    """The one image of a socket, whose folder may also be the file itself."""
    if folder.is_file():
        return folder
    places = folders_of(folder) if folder.is_dir() else []
    files = sorted(path for place in places for path in place.iterdir() if path.is_file())
    images = [path for path in files if path.name.lower().endswith(IMAGES)]
    if len(images) == 1:
        return images[0]
    if not images and any(path.suffix.lower() == DICOM for path in files):
        return _joined(folder, slug, scratch)
    raise PredictionError(
        folder,
        found=f"{len(images)} images in socket '{slug}'",
        expected=f"one image ({', '.join(IMAGES)}) or the {DICOM} files of one series",
        fix="check the input's layout",
    )


def _joined(folder: Path, slug: str, scratch: Path) -> Path:
    """A DICOM series as one file; scouts and what was made of images are passed over."""
    series = [one for one in find_series(folder) if one.is_image]
    if len(series) != 1:
        raise PredictionError(
            folder,
            found=f"{len(series)} DICOM series of images in socket '{slug}'",
            expected="one",
            fix="check the input's layout",
        )
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"{OUTPUT}.mha"
    write_image(path, read_series(series[0]))
    return path
