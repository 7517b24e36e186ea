"""One small raw dataset of each kind that users have, with two test images each: what planning and the whole
run are tried on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import tifffile
from support.datasets import describe, organ_case, volume_dataset, write_volume
from support.runs import copy_some

ISOTROPIC = (1.0, 1.0, 1.0)
CASES = 6
Builder = Callable[[Path, Path], Path]  # where raw datasets go, where the real data lie -> the dataset


def crops(image: Path, label: Path, target: Path, value: int) -> None:
    """Six overlapping thirds of a scan, as cases with one label."""
    scan, organs = sitk.ReadImage(str(image)), sitk.ReadImage(str(label))
    (target / "imagesTr").mkdir(parents=True)
    (target / "labelsTr").mkdir()
    depth = scan.GetSize()[2]
    for index in range(CASES):
        start, stop = index * depth // 9, index * depth // 9 + depth // 3
        sitk.WriteImage(scan[:, :, start:stop], str(target / "imagesTr" / f"part_{index}_0000.nii.gz"))
        sitk.WriteImage(organs[:, :, start:stop] == value, str(target / "labelsTr" / f"part_{index}.nii.gz"))


def ct_of_one_label(raw: Path, data: Path) -> Path:
    """The liver of a real CT of 3 mm, in Hounsfield units."""
    folder = raw / "Dataset101_LiverCT"
    crops(data / "multi_organ_ct" / "ct.nii.gz", data / "multi_organ_ct" / "organs.nii.gz", folder, 5)
    return describe(folder, {"background": 0, "liver": 1}, ["CT"], CASES)


def mr_stored_lps(raw: Path, data: Path) -> Path:
    """The liver of a real MR that is stored left-posterior-superior."""
    folder = raw / "Dataset102_LiverMR"
    crops(
        data / "multi_organ_ct" / "mr_small.nii.gz",
        data / "multi_organ_ct" / "mr_small_organs.nii.gz",
        folder,
        5,
    )
    return describe(folder, {"background": 0, "liver": 1}, ["MR"], CASES)


def two_channels(raw: Path, data: Path) -> Path:
    """Volumes of two channels."""
    return volume_dataset(raw / "Dataset103_Two", channels=2)


def regions(raw: Path, data: Path) -> Path:
    """Overlapping regions, as in BraTS."""
    folder = volume_dataset(raw / "Dataset104_Regions")
    return describe(
        folder, {"background": 0, "whole": [1, 2], "core": [2]}, ["T1"], CASES, regions_class_order=[1, 2]
    )


def ignore_label(raw: Path, data: Path) -> Path:
    """Slices that nobody has labelled carry the ignore label."""
    folder = volume_dataset(raw / "Dataset105_Ignore")
    for index in range(CASES):
        _, label = organ_case(index)
        label[6:] = 3
        write_volume(folder / "labelsTr" / f"case_{index:02d}.nii.gz", label, ISOTROPIC)
    return describe(folder, {"background": 0, "organ": 1, "core": 2, "ignore": 3}, ["T1"], CASES)


def thick_slices(raw: Path, data: Path) -> Path:
    """Slices of 5 mm, pixels of 0.8 mm."""
    return volume_dataset(raw / "Dataset106_Thick", spacing=(5.0, 0.8, 0.8))


def tiff_of_sixteen_bits(raw: Path, data: Path) -> Path:
    """Grey pictures of 16 bits."""
    folder = raw / "Dataset107_Tiff"
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for index in range(CASES):
        images, label = organ_case(index, (1, 60, 70))
        tifffile.imwrite(
            folder / "imagesTr" / f"cell_{index}_0000.tif", (images[0][0].astype(np.uint16) + 1) * 150
        )
        tifffile.imwrite(folder / "labelsTr" / f"cell_{index}.tif", label[0])
    return describe(folder, {"background": 0, "organ": 1, "core": 2}, ["fluorescence"], CASES, ".tif")


def hippocampus(raw: Path, data: Path) -> Path:
    """Some cases of Dataset004_Hippocampus, unchanged."""
    return copy_some(data / "raw" / "Dataset004_Hippocampus", raw / "Dataset004_Hippocampus", CASES)


def drive(raw: Path, data: Path) -> Path:
    """Some photographs of Dataset020_DRIVE, unchanged."""
    return copy_some(data / "raw" / "Dataset020_DRIVE", raw / "Dataset020_DRIVE", CASES)


KINDS: tuple[Builder, ...] = (
    hippocampus,
    drive,
    ct_of_one_label,
    mr_stored_lps,
    two_channels,
    regions,
    ignore_label,
    thick_slices,
    tiff_of_sixteen_bits,
)


def take_test_images(folder: Path) -> list[str]:
    """Make the images of the first two training cases test images under other names; returns those names."""
    images = sorted((folder / "imagesTr").iterdir())
    cases = sorted({path.name.split(".")[0].rsplit("_", 1)[0] for path in images})[:2]
    (folder / "imagesTs").mkdir()
    for path in images:
        case, channel = path.name.split(".")[0].rsplit("_", 1)
        ending = path.name[path.name.index(".") :]
        if case in cases:
            shutil.copyfile(path, folder / "imagesTs" / f"test_{case}_{channel}{ending}")
    return [f"test_{case}" for case in cases]
