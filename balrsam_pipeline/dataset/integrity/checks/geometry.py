"""Do the channels and the label of a case lie on one grid?

A different shape or spacing is an error, as in nnU-Net. A different origin or direction is a warning: voxels
are paired by index, as nnU-Net pairs them, and tools that drop the header are common; the user should look at
one such case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from balrsam_pipeline.dataset.integrity.report import Problem
from balrsam_pipeline.errors import ImageError
from balrsam_pipeline.imageio import (
    Geometry,
    direction_differs,
    origin_differs,
    spacing_differs,
    stored_orientation,
)
from balrsam_pipeline.imageio.nifti import header_contradiction
from balrsam_pipeline.imageio.tiff import sidecar

SMALLEST_MM, LARGEST_MM = 1e-3, 100.0  # microscopy to whole-body scouts; beyond, the unit is hardly mm
HEADER_MEND = (
    "look at one case in a viewer; if voxels match, copy the image's header: balrsam verify "
    "DATASET --fix NEW_FOLDER"
)


def check_same_grid(case: str, what: str, found: Geometry, image: Geometry) -> Iterator[Problem]:
    """Compare a channel or label with the first channel.

    Args:
        what: "channel 1" or "label", for messages; kinds begin with its first word.
    """
    kind = what.split()[0]
    if found.shape_zyx != image.shape_zyx:
        fix = "resample it to the image's grid (nearest neighbour for labels)"
        yield Problem(
            f"{kind}_shape",
            case,
            f"{what} of {_sizes(found.shape_zyx)} voxels",
            f"{_sizes(image.shape_zyx)} (z × y × x)",
            fix,
        )
        return
    if spacing_differs(image, found):
        spacing = f"{_sizes(image.spacing_mm)} mm (z × y × x), as channel 0"
        yield Problem(
            f"{kind}_spacing",
            case,
            f"{what} with spacing {_sizes(found.spacing_mm)} mm",
            spacing,
            HEADER_MEND,
        )
    if origin_differs(image, found):
        origin = f"{_sizes(image.origin_mm)} mm, as channel 0"
        yield Problem(
            f"{kind}_origin",
            case,
            f"{what} with origin {_sizes(found.origin_mm)} mm",
            origin,
            HEADER_MEND,
            "warning",
        )
    if direction_differs(image, found):
        turned = found.stored != image.stored
        yield Problem(
            f"{kind}_direction",
            case,
            f"{what} stored {found.stored[: found.dimension]}"
            if turned
            else f"{what} with direction {_sizes(found.direction)}",
            f"{image.stored[: image.dimension] if turned else _sizes(image.direction)}, as channel 0",
            "look at the case in a viewer: if the label is mirrored there, reorient it; if only the header "
            "is wrong, copy the image's"
            if turned
            else HEADER_MEND,
            "warning",
        )


def check_turned(case: str, image: Path, label: Path, same_shape: bool) -> Iterator[Problem]:
    """Is the label turned as its picture is? Tools that know nothing of EXIF draw on the picture as it is
    stored, and save masks without such a tag.

    Args:
        same_shape: whether the label has the shape of the picture as it stands upright.
    """
    turned = stored_orientation(image)
    if turned in (1, stored_orientation(label)):
        return
    yield Problem(
        "label_not_turned",
        case,
        f"{image.name} turned upright by its EXIF tag (orientation {turned}), {label.name} without that tag",
        "a mask drawn on the picture as it stands upright",
        "look at both in a viewer"
        + (", also where the shapes agree" if same_shape else "")
        + ": if the mask was drawn on the picture as it is stored, turn the mask likewise, or remove the tag "
        "from a copy of the picture (exiftool -Orientation= FILE)",
        "warning" if same_shape else "error",
    )


def check_header(case: str, path: Path) -> Iterator[Problem]:
    """Does a NIfTI header say the same everywhere? Unreadable files are reported elsewhere."""
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    try:
        contradiction = header_contradiction(path)
    except ImageError:
        return
    if contradiction is not None:
        yield Problem(
            "header_contradiction",
            case,
            f"{path.name}: {contradiction}",
            "one voxel size (pixdim is what is used, as ITK does) and one place",
            "find out which is right, and write it everywhere into the header (nibabel: image.set_sform, "
            "image.set_qform and header.set_zooms)",
            "warning",
        )


def check_spacing(case: str, geometry: Geometry) -> Iterator[Problem]:
    """Is the spacing one that a scanner or a microscope has?"""
    spacing = geometry.spacing_mm[-geometry.dimension :]
    if is_absurd(spacing):
        yield Problem(
            "absurd_spacing",
            case,
            f"spacing {_sizes(spacing)} mm",
            f"between {SMALLEST_MM:g} and {LARGEST_MM:g} mm",
            "write the spacing in mm into the header (it may be in m or μm)",
            "warning",
        )


def is_absurd(spacing_mm: Sequence[float]) -> bool:
    """Whether a spacing is hardly in mm: none that a scanner or a microscope has."""
    return any(not SMALLEST_MM <= value <= LARGEST_MM for value in spacing_mm)


def check_spacing_file(case: str, path: Path, geometry: Geometry) -> Iterator[Problem]:
    """Does a TIFF stack bring its spacing?"""
    if geometry.dimension == 3 and path.suffix.lower() in (".tif", ".tiff") and sidecar(path) is None:
        yield Problem(
            "spacing_file_missing",
            case,
            f"no {path.stem}.json beside {path.name}: spacing 1 × 1 × 1 mm is assumed",
            "a spacing file beside every TIFF stack",
            f'write {path.stem}.json: {{"spacing": [z, y, x]}} in mm',
            "warning",
        )


def _sizes(values: tuple[float, ...] | tuple[int, ...]) -> str:
    return " × ".join(f"{value:.6g}" for value in values)
