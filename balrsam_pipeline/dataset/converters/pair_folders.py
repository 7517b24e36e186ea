"""Which folders of a source hold the images and the masks, where the user did not say."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.dataset.converters.conversion import IMAGES, MASKS, Conversion
from balrsam_pipeline.dataset.converters.source_files import ending_of, listed
from balrsam_pipeline.errors import DatasetError

# names that public data sets use; the first of each is the default of the option
IMAGE_FOLDERS = (IMAGES, "image", "imgs", "img", "photos", "original")
MASK_FOLDERS = (
    *(MASKS, "mask", "labels", "label", "segmentations", "segmentation", "annotations", "annotation"),
    *("gt", "ground_truth", "ground truth", "groundtruth", "manual", "1st_manual"),
)


def find_folders(conversion: Conversion) -> tuple[Path, tuple[Path, ...]]:
    """The folder of images and those of masks: those named, else those whose names leave no doubt; one
    folder that holds both where the source has the files itself.

    Raises:
        DatasetError: no such folders, or several that could be meant.
    """
    source = conversion.source
    images = _folder(source, conversion.images, IMAGES, IMAGE_FOLDERS)
    masks = _folder(source, conversion.masks, MASKS, MASK_FOLDERS)
    if images is not None and masks is not None:
        return images, (masks, *(_named(source / name) for name in conversion.more_masks))
    if images is None and masks is None and any(ending_of(path) for path in source.iterdir()):
        return source, (source,)
    missing = [option for option, folder in (("--images", images), ("--masks", masks)) if folder is None]
    inside = sorted(path.name for path in source.iterdir() if path.is_dir())
    raise DatasetError(
        source,
        found=f"the folders {listed(inside)}" if inside else "no folder and no image",
        expected=f"{IMAGES} and {MASKS}, or folders whose names leave no doubt",
        fix="say which they are: "
        + " ".join(f"{option} FOLDER" for option in missing)
        + " (inside the source); of several folders of masks each is a label: --masks leftMask rightMask",
    )


def _folder(source: Path, name: str, default: str, usual: tuple[str, ...]) -> Path | None:
    """The folder of this name; of the default name also the only one with a usual name."""
    if name != default or (source / name).is_dir():
        return _named(source / name)
    found = [path for path in sorted(source.iterdir()) if path.is_dir() and path.name.lower() in usual]
    return found[0] if len(found) == 1 else None


def _named(folder: Path) -> Path:
    """A folder that the user named."""
    if not folder.is_dir():
        raise DatasetError(
            folder,
            found="no such folder",
            expected="a folder inside the source",
            fix="correct --images or --masks; '.' means the source itself",
        )
    return folder
