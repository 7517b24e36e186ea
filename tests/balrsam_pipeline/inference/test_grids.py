"""A label map lies on the grid of its image, whatever the format keeps of it; another image's does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from balrsam_pipeline.dataset import CaseFiles
from balrsam_pipeline.dataset.cases import prediction_name
from balrsam_pipeline.imageio import Geometry, Image, read_geometry, write_image, write_label
from balrsam_pipeline.inference.start import difference_of_grids


def written(folder: Path, ending: str, shape: tuple[int, int, int]) -> tuple[Path, Path]:
    """An image, and a label map as a prediction of it is written."""
    flat = shape[0] == 1
    spacing = (0.7 * 999, 0.7, 0.7) if flat else (2.5, 0.7, 0.8)
    geometry = Geometry(dimension=2 if flat else 3, shape_zyx=shape, spacing_mm=spacing)
    image = folder / f"a_0000{ending}"
    write_image(image, Image(np.ones((1, *shape), np.uint8), geometry))
    label = folder / "out" / prediction_name(CaseFiles("a", (image,)))
    label.parent.mkdir(exist_ok=True)
    write_label(label, np.ones(shape, np.uint8), read_geometry(image), like=image)
    return image, label


@pytest.mark.parametrize(
    ("ending", "shape"),
    [
        (".nii.gz", (5, 6, 7)),
        (".nii.gz", (1, 6, 7)),
        (".nrrd", (5, 6, 7)),
        (".mha", (5, 6, 7)),
        (".tif", (5, 6, 7)),
        (".tif", (1, 6, 7)),
        (".png", (1, 6, 7)),
        (".bmp", (1, 6, 7)),
    ],
)
def test_a_label_map_fits_the_image_that_it_was_written_for(
    ending: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    assert difference_of_grids(*written(tmp_path, ending, shape)) is None


def test_one_that_cannot_be_read_fits_no_image(tmp_path: Path) -> None:
    image, label = written(tmp_path, ".nii.gz", (5, 6, 7))
    label.write_bytes(b"")
    assert "cannot be read" in str(difference_of_grids(image, label))
