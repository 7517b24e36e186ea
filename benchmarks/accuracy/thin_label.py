"""A dataset with one thin label among large ones: CHAOS, slices twice as fine, and the kidneys' rims.

    python benchmarks/accuracy/thin_label.py RAW/Dataset111_CHAOST2 FOLDER [--alone]

writes FOLDER/Dataset902_Rims, whose fifth label is the outer 5 voxels of both kidneys in slices of about
512 × 512: as thin as adrenals in a CT. With `--alone` it is FOLDER/Dataset903_RimAlone, where the rims are
the only label. How whole slices (`--input-size 224`) and tiles (`--tiles 128`) rank on it says where the
limit of `input_size.py` lies; the figures themselves say nothing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage

DATASET, ALONE = "Dataset902_Rims", "Dataset903_RimAlone"
FINER = 2
RIM_VOXELS = 5
KIDNEYS, RIM = (2, 3), 5  # labels


def with_rims(label_zyx: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The same, of each kidney in each slice the outer voxels as a label of their own."""
    rimmed = label_zyx.copy()
    for kidney in KIDNEYS:
        for before_yx, after_yx in zip(label_zyx == kidney, rimmed, strict=True):
            if before_yx.any():
                after_yx[before_yx & (ndimage.distance_transform_edt(before_yx) <= RIM_VOXELS)] = RIM
    return rimmed


def finer(image: Any, interpolator: int) -> Any:
    """An image (SimpleITK's) with slices of twice as many voxels along each side."""
    (x, y, z), (dx, dy, dz) = image.GetSize(), image.GetSpacing()
    size, spacing = (FINER * x, FINER * y, z), (dx / FINER, dy / FINER, dz)
    grid = (size, SimpleITK.Transform(), interpolator, image.GetOrigin(), spacing, image.GetDirection())
    return SimpleITK.Resample(image, *grid)


def make(source: Path, target: Path, *, alone: bool) -> None:
    """Write the dataset."""
    description = json.loads((source / "dataset.json").read_text())
    ending = description["file_ending"]
    for folder in ("imagesTr", "labelsTr"):
        (target / folder).mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "labelsTr").glob(f"*{ending}")):
        name = path.name.removesuffix(ending) + f"_0000{ending}"
        image = finer(SimpleITK.ReadImage(str(source / "imagesTr" / name)), SimpleITK.sitkLinear)
        SimpleITK.WriteImage(image, str(target / "imagesTr" / name))
        label = finer(SimpleITK.ReadImage(str(path), SimpleITK.sitkUInt8), SimpleITK.sitkNearestNeighbor)
        rimmed = with_rims(SimpleITK.GetArrayFromImage(label))
        written = SimpleITK.GetImageFromArray((rimmed == RIM).astype(np.uint8) if alone else rimmed)
        written.CopyInformation(label)
        SimpleITK.WriteImage(written, str(target / "labelsTr" / path.name))
    description["labels"] = {"background": 0, "rim": 1} if alone else description["labels"] | {"rim": RIM}
    (target / "dataset.json").write_text(json.dumps(description))


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="CHAOS T2 in the raw format")
    parser.add_argument("folder", type=Path, help="of raw datasets")
    parser.add_argument("--alone", action="store_true", help="the rims are the only label")
    arguments = parser.parse_args()
    make(arguments.source, arguments.folder / (ALONE if arguments.alone else DATASET), alone=arguments.alone)


if __name__ == "__main__":
    main()
