"""Whether a label map that is there lies on the grid of the image that it is said to be of."""

from __future__ import annotations

from pathlib import Path

from balrsam_pipeline.errors import BalrsamError
from balrsam_pipeline.imageio import read_geometry, spacing_differs


def difference_of_grids(image: Path, label: Path) -> str | None:
    """How the headers of an image and of its label map differ, in words: shape, or of volumes the spacing (a
    PNG keeps none). None where they do not, and where the image cannot be read, which is reported when it is
    predicted or evaluated.
    """
    try:
        expected = read_geometry(image)
    except BalrsamError:
        return None
    try:
        found = read_geometry(label)
    except BalrsamError as problem:
        return f"{label.name} cannot be read ({problem.found})"
    if found.shape_zyx != expected.shape_zyx:
        return f"{label.name} has {_times(found.shape_zyx)} voxels, its image {_times(expected.shape_zyx)}"
    if expected.dimension == found.dimension == 3 and spacing_differs(expected, found):
        own, other = _times(found.spacing_mm), _times(expected.spacing_mm)
        return f"{label.name} has voxels of {own} mm, its image {other}"
    return None


def _times(sizes: tuple[float, float, float]) -> str:
    return " × ".join(f"{size:.6g}" for size in sizes)
