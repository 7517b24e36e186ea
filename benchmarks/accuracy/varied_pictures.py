"""A dataset of colour pictures whose appearance varies: kidneys or livers of CHAOS, left ventricles of ACDC,
each picture a part of one slice, turned, enlarged, in colours, contrast, light and noise of its own.

    python benchmarks/accuracy/varied_pictures.py RAW/Dataset111_CHAOST2 FOLDER
    python benchmarks/accuracy/varied_pictures.py RAW/Dataset110_ACDC FOLDER --organ ventricle

writes FOLDER/Dataset901_Kidneys (904_Livers, 905_Ventricles): 104 training pictures of ten volumes, 40 test
pictures (`imagesTs`) of four volumes of other patients, and beside them their labels (`labelsTs`), which
`balrsam evaluate` compares. The same pictures every time.

It stands in for what nobody may pass on: photographs and endoscopies, where the object is large and no two
pictures look alike. How methods rank on it says something of those; the figures themselves do not.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import SimpleITK
from scipy import ndimage
from skimage import io


class Organ(NamedTuple):
    """What a dataset shows: its name, and which labels of the volumes it is."""

    dataset: str
    labels: tuple[int, ...]


ORGANS = {
    "kidney": Organ("Dataset901_Kidneys", (2, 3)),  # of CHAOS
    "liver": Organ("Dataset904_Livers", (1,)),  # of CHAOS
    "ventricle": Organ("Dataset905_Ventricles", (2, 3)),  # of ACDC: myocardium and cavity of the left one
}
TRAINING, TEST = 104, 40  # pictures
VOLUMES, TEST_VOLUMES = 10, 4
FEWEST_VOXELS = 250  # of the organ in a slice that is shown
SHARE = (0.03, 0.4)  # of a picture that is the organ

FloatArray = npt.NDArray[np.float64]


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> FloatArray:
    """Random values from 0 to 1 that change over about `scale` pixels."""
    counts = [max(2, int(size / scale) + 2) for size in shape]
    coarse = rng.standard_normal(counts)
    zooms = [size / count for size, count in zip(shape, counts, strict=True)]
    field = ndimage.zoom(coarse, zooms, order=3)[: shape[0], : shape[1]]
    return np.asarray((field - field.min()) / (np.ptp(field) + 1e-9))


def coloured(rng: np.random.Generator, grey_yx: FloatArray) -> FloatArray:
    """(y, x) from 0 to 1 to (y, x, 3): perhaps inverted, another contrast, three colours, light and noise."""
    if rng.random() < 0.3:
        grey_yx = 1 - grey_yx
    grey_yx = grey_yx ** np.exp(rng.uniform(-0.7, 0.7))
    middle = rng.uniform(0.25, 0.75, 1)[0]
    dark, mid, light = rng.uniform(0, 0.35, 3), rng.uniform(0.2, 0.8, 3), rng.uniform(0.6, 1, 3)
    picture = np.stack(
        [np.interp(grey_yx, [0, middle, 1], [dark[i], mid[i], light[i]]) for i in range(3)], axis=-1
    )
    picture *= (0.6 + 0.6 * smooth_field(rng, (grey_yx.shape[0], grey_yx.shape[1]), max(grey_yx.shape) / 2))[
        ..., None
    ]
    picture += rng.normal(0, rng.uniform(0, 0.04), picture.shape)
    return np.clip(picture, 0, 1)


def picture(
    rng: np.random.Generator, image_zyx: npt.NDArray[np.generic], organ_zyx: npt.NDArray[np.bool_]
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """A coloured picture (y, x, 3) of a part of a slice, and where its organ is (y, x)."""
    while True:
        height, width = int(rng.integers(280, 420)), int(rng.integers(320, 480))
        z = rng.choice(np.flatnonzero(organ_zyx.sum((1, 2)) > FEWEST_VOXELS))
        grey = image_zyx[z].astype(float)
        low, high = np.percentile(grey, [1, 99.5])
        grey = np.clip((grey - low) / (high - low), 0, 1)
        centre = np.argwhere(organ_zyx[z])[rng.integers(organ_zyx[z].sum())] + rng.normal(0, 20, 2)
        pixel, angle = rng.uniform(70, 200) / width, rng.uniform(0, 2 * np.pi)
        turn = pixel * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        if rng.random() < 0.5:
            turn = turn @ np.diag([1, -1])
        offset = centre - turn @ np.array([height / 2, width / 2])
        shown = ndimage.affine_transform(grey, turn, offset, (height, width), order=3)
        mask = (
            ndimage.affine_transform(organ_zyx[z].astype(float), turn, offset, (height, width), order=1) > 0.5
        )
        if SHARE[0] < mask.mean() < SHARE[1]:
            return coloured(rng, np.clip(shown, 0, 1)), mask


def read_volumes(
    raw: Path, labels: tuple[int, ...]
) -> list[tuple[npt.NDArray[np.generic], npt.NDArray[np.bool_]]]:
    """Images of a raw dataset's first training cases, in order of their names, and where the organ is."""
    pairs = []
    for label in sorted((raw / "labelsTr").iterdir())[: VOLUMES + TEST_VOLUMES]:
        image = next((raw / "imagesTr").glob(label.name.split(".")[0] + "*"))
        read = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) for path in (image, label))
        pairs.append((next(read), np.isin(next(read), labels)))
    return pairs


def write(raw: Path, organ: str, folder: Path) -> Path:
    """Write the dataset below `folder`; returns where."""
    target = folder / ORGANS[organ].dataset
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (target / name).mkdir(parents=True)
    volumes = read_volumes(raw, ORGANS[organ].labels)
    training, test = volumes[:VOLUMES], volumes[VOLUMES:]
    rng = np.random.default_rng(0)
    for index in range(TRAINING + TEST):
        part, of = ("Tr", training) if index < TRAINING else ("Ts", test)
        number = index if index < TRAINING else index - TRAINING
        image, mask = picture(rng, *of[number % len(of)])
        case = f"case_{index:03d}"
        pixels = (image * 255).round().astype(np.uint8)
        io.imsave(target / f"images{part}" / f"{case}_0000.png", pixels, check_contrast=False)
        io.imsave(target / f"labels{part}" / f"{case}.png", mask.astype(np.uint8), check_contrast=False)
    description = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, organ: 1},
        "numTraining": TRAINING,
        "file_ending": ".png",
    }
    (target / "dataset.json").write_text(json.dumps(description, indent=2))
    return target


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="the raw dataset of CHAOS T2's or ACDC's volumes")
    parser.add_argument("folder", type=Path, help="where the new dataset goes")
    parser.add_argument("--organ", choices=ORGANS, default="kidney")
    arguments = parser.parse_args()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)  # of ACDC's headers
    print(write(arguments.raw, arguments.organ, arguments.folder))


if __name__ == "__main__":
    main()
