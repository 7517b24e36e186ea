"""The image of a case, for pictures: found by the case's name in a folder of images."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.imageio import ALL_ENDINGS
from balrsam_pipeline.imageio.formats import known_ending


def images_beside(references: Path) -> Path | None:
    """The folder of images that belongs to a folder of references in a raw dataset: labelsTr -> imagesTr; by
    the name that it is given, then by that which it has where it really is."""
    for folder in (references.absolute(), references.resolve()):
        images = folder.with_name("images" + folder.name.removeprefix("labels"))
        if folder.name.startswith("labels") and images.is_dir():
            return images
    return None


def image_of_case(case: str, folder: Path, ending: str = "") -> Path | None:
    """The file of a case's first channel, CASE_0000 or CASE; None where there is none.

    Args:
        folder: of images; a file is taken as it is.
        ending: is looked for first.
    """
    if folder.is_file():
        return folder
    endings = dict.fromkeys([*([ending] if ending else []), *ALL_ENDINGS])
    names = (folder / f"{case}{middle}{known}" for known in endings for middle in ("_0000", ""))
    return next((path for path in names if path.is_file()), None) or _in_large_letters(case, folder)


def _in_large_letters(case: str, folder: Path) -> Path | None:
    """The same where endings are not written in small letters, as some exports do: CASE_0000.NII.GZ."""
    names, there = (f"{case}_0000", case), {}
    for path in folder.iterdir() if folder.is_dir() else ():
        ending = known_ending(path, ALL_ENDINGS) if path.name.startswith(case) else ""
        name = path.name[: len(path.name) - len(ending)]
        if ending and name in names and path.is_file():
            there[name] = path
    return next((there[name] for name in names if name in there), None)
