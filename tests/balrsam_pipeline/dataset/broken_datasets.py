"""A small good dataset, and the catalogue of ways in which users break one."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from PIL import Image as PillowImage

from balrsam_pipeline.imageio import Geometry, Image, read_image, read_label, write_image, write_label

CASES = 6
GRID = Geometry(dimension=3, shape_zyx=(4, 10, 12), spacing_mm=(3.0, 1.0, 1.0), origin_mm=(5.0, -7.0, 20.0))


def edit_json(folder: Path, **changes: Any) -> None:
    """Replace keys of dataset.json; None removes one."""
    content = json.loads((folder / "dataset.json").read_text()) | changes
    (folder / "dataset.json").write_text(
        json.dumps({key: value for key, value in content.items() if value is not None})
    )


def good_volumes(folder: Path) -> Path:
    """Six cases of two channels (CT, PET) with two labels."""
    generator = np.random.default_rng(0)
    for index in range(CASES):
        case = f"organ_{index:03d}"
        ct = generator.integers(-1000, 1500, (1, *GRID.shape_zyx)).astype(np.int16)
        pet = generator.random((1, *GRID.shape_zyx)).astype(np.float32)
        label = np.zeros(GRID.shape_zyx, np.uint8)
        label[1:3, 2:8, 2:8], label[2, 4:6, 4:6] = 1, 2
        write_image(folder / "imagesTr" / f"{case}_0000.nii.gz", Image(ct, GRID))
        write_image(folder / "imagesTr" / f"{case}_0001.nii.gz", Image(pet, GRID))
        write_label(folder / "labelsTr" / f"{case}.nii.gz", label, GRID)
    write_image(folder / "imagesTs" / "organ_900_0000.nii.gz", Image(ct[:, :, ::-1].copy(), GRID))
    write_image(folder / "imagesTs" / "organ_900_0001.nii.gz", Image(pet[:, :, ::-1].copy(), GRID))
    content = {
        "channel_names": {"0": "CT", "1": "PET"},
        "labels": {"background": 0, "organ": 1, "lesion": 2},
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content | {"numTraining": CASES}))
    return folder


def good_pictures(folder: Path) -> Path:
    """Six RGB pictures with one label."""
    generator = np.random.default_rng(0)
    for index in range(CASES):
        for subfolder in ("imagesTr", "labelsTr"):
            (folder / subfolder).mkdir(parents=True, exist_ok=True)
        colours = generator.integers(0, 256, (10, 12, 3)).astype(np.uint8)
        PillowImage.fromarray(colours).save(folder / "imagesTr" / f"eye_{index}_0000.png")
        mask = np.zeros((10, 12), np.uint8)
        mask[2:5, 3:9] = 1
        PillowImage.fromarray(mask).save(folder / "labelsTr" / f"eye_{index}.png")
    content = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "vessel": 1},
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(content | {"numTraining": CASES}))
    return folder


def good_greys(folder: Path) -> Path:
    """The same pictures in grey."""
    good_pictures(folder)
    for path in (folder / "imagesTr").iterdir():
        PillowImage.open(path).convert("L").save(path)
    edit_json(folder, channel_names={"0": "X-ray"})
    return folder


def good_stacks(folder: Path) -> Path:
    """Six 16-bit TIFF stacks with one label and their spacing files."""
    generator = np.random.default_rng(0)
    geometry = Geometry(dimension=3, shape_zyx=(4, 10, 12), spacing_mm=(2.0, 0.3, 0.3))
    for index in range(CASES):
        stack = generator.integers(0, 65536, (1, *geometry.shape_zyx)).astype(np.uint16)
        write_image(folder / "imagesTr" / f"cell_{index}_0000.tif", Image(stack, geometry))
        write_label(folder / "labelsTr" / f"cell_{index}.tif", stack[0] > 30000, geometry)
    content = {
        "channel_names": {"0": "microscopy"},
        "labels": {"background": 0, "cell": 1},
        "file_ending": ".tif",
    }
    (folder / "dataset.json").write_text(json.dumps(content | {"numTraining": CASES}))
    return folder


def ct(folder: Path, case: int = 1) -> Path:
    """The CT file of a case."""
    return folder / "imagesTr" / f"organ_{case:03d}_0000.nii.gz"


def pet(folder: Path, case: int = 1) -> Path:
    """The PET file of a case."""
    return folder / "imagesTr" / f"organ_{case:03d}_0001.nii.gz"


def label(folder: Path, case: int = 1) -> Path:
    """The label file of a case."""
    return folder / "labelsTr" / f"organ_{case:03d}.nii.gz"


def rename(folder: Path, new: str, case: int = 1) -> None:
    """Give a case, its images and its label, another name."""
    for path in (ct(folder, case), pet(folder, case), label(folder, case)):
        path.rename(path.with_name(path.name.replace(f"organ_{case:03d}", new)))


def picture_label(folder: Path) -> Path:
    """The label of picture 1."""
    return folder / "labelsTr" / "eye_1.png"


def change(path: Path, voxels: Callable[[Any], Any] | None = None, **geometry: Any) -> None:
    """Rewrite a file with other voxels or another header."""
    image = read_image([path])
    data = voxels(image.data) if voxels else image.data
    shape = {"shape_zyx": data.shape[1:]}
    write_image(path, Image(data, replace(image.geometry, **(shape | geometry))))


def put(value: float, dtype: Any) -> Callable[[Any], Any]:
    """A change that puts one value into one voxel of another type."""

    def voxels(data: Any) -> Any:
        changed = data.astype(dtype)
        changed[0, 0, 0, 0] = value
        return changed

    return voxels


def put_margin(value: float) -> Callable[[Any], Any]:
    """A change that gives the first two rows one value."""

    def voxels(data: Any) -> Any:
        changed = data.copy()
        changed[:, :, :2] = value
        return changed

    return voxels


def contradict(path: Path) -> None:
    """Give the voxel size another value in pixdim than in the sform."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    header = nib.Nifti1Header(bytes(content[:348]))
    header["pixdim"][1:3] = 2 * header["pixdim"][1:3]
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content)))


def each_label(folder: Path, change_label: Callable[[Any], Any]) -> None:
    """Change the values of every label."""
    for path in sorted((folder / "labelsTr").glob("*.nii.gz")):
        read = read_label(path)
        write_label(path, change_label(read.data[0].copy()), read.geometry)


def save_label_as(folder: Path, mode: str, factor: int = 255) -> None:
    """Save the label of picture 1 with other values or colours."""
    mask = np.asarray(PillowImage.open(picture_label(folder))) * np.uint8(factor)
    if mode == "colours":
        PillowImage.fromarray(np.dstack([mask, mask * 0, mask * 0])).save(picture_label(folder))
    else:
        PillowImage.fromarray(mask).convert(mode).save(picture_label(folder))


def save_as(folder: Path, mode: str) -> None:
    """Save picture 1 with other channels."""
    path = folder / "imagesTr" / "eye_1_0000.png"
    PillowImage.open(path).convert(mode).save(path)


def add_alpha(folder: Path, *, constant: bool = True) -> None:
    """Give all pictures a fourth channel, named as if it were data; a constant one but, if wished, in
    picture 1."""
    for path in (folder / "imagesTr").iterdir():
        picture = PillowImage.open(path).convert("RGBA")
        if path.name == "eye_1_0000.png" and not constant:
            picture.putalpha(picture.getchannel("R"))
        picture.save(path)
    edit_json(folder, channel_names={str(index): f"image{index}" for index in range(4)})


def turn(folder: Path, orientation: int, *, label_too: bool = False) -> None:
    """Give picture 1 an EXIF tag by which viewers turn it, and its label too."""
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    for path in (folder / "imagesTr" / "eye_1_0000.png", *([picture_label(folder)] if label_too else [])):
        PillowImage.open(path).save(path, exif=exif)


def four_axes(path: Path) -> None:
    """Store both channels in one file of four axes."""
    image = sitk.ReadImage(str(path))
    sitk.WriteImage(sitk.JoinSeries([image, image]), str(path))


def write_splits(folder: Path, change_folds: Callable[[list[Any]], Any]) -> None:
    """Write splits_final.json, changed."""
    cases = [f"organ_{index:03d}" for index in range(CASES)]
    folds = [{"train": [case for case in cases if case != val], "val": [val]} for val in cases]
    (folder / "splits_final.json").write_text(json.dumps(change_folds(folds)))


def rename_cases(folder: Path, names: list[str]) -> None:
    """Give the cases other names."""
    for index, name in enumerate(names):
        ct(folder, index).rename(folder / "imagesTr" / f"{name}_0000.nii.gz")
        pet(folder, index).rename(folder / "imagesTr" / f"{name}_0001.nii.gz")
        label(folder, index).rename(folder / "labelsTr" / f"{name}.nii.gz")


@dataclass(frozen=True, slots=True)
class Broken:
    """One way to break a dataset, and what must be found: kind, case, severity, and whether `fix_dataset`
    fixes it."""

    kind: str
    case: str
    damage: Callable[[Path], Any]
    severity: str = "error"
    fixable: bool = False
    base: Callable[[Path], Path] = good_volumes
    name: str = ""


SECOND = "organ_001"
OBLIQUE = (0.98, -0.199, 0.0, 0.199, 0.98, 0.0, 0.0, 0.0, 1.0)
ROTATED = (0.9998, -0.01999867, 0.0, 0.01999867, 0.9998, 0.0, 0.0, 0.0, 1.0)
FLIPPED = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
SQUASHED = {"background": 0, "organ": 1, "lesion": 3}

CATALOGUE = (
    # dataset.json
    Broken("dataset_json", "dataset.json", lambda f: (f / "dataset.json").unlink(), name="no dataset.json"),
    Broken(
        "dataset_json",
        "dataset.json",
        lambda f: (f / "dataset.json").write_text("{"),
        name="dataset.json is no JSON",
    ),
    Broken("dataset_json", "dataset.json", lambda f: edit_json(f, labels=None), name="no labels"),
    Broken("dataset_json", "dataset.json", lambda f: edit_json(f, labels={"organ": 1}), name="no background"),
    Broken(
        "dataset_json",
        "dataset.json",
        lambda f: edit_json(f, labels={"0": "background", "1": "organ"}),
        name="labels the v1 way",
    ),
    Broken(
        "dataset_json", "dataset.json", lambda f: edit_json(f, channel_names=None), name="no channel names"
    ),
    Broken(
        "dataset_json",
        "dataset.json",
        lambda f: edit_json(f, file_ending="nii.gz"),
        name="file ending without dot",
    ),
    Broken(
        "dataset_json",
        "dataset.json",
        lambda f: edit_json(f, labels={"background": 0, "organ": [1, 2], "lesion": 2}),
        name="no region order",
    ),
    Broken(
        "dataset_json",
        "dataset.json",
        lambda f: edit_json(f, labels={"background": 0, "organ": 1, "lesion": 2, "ignore": 9}),
        name="ignore label not the highest plus one",
    ),
    Broken("num_training", "dataset.json", lambda f: edit_json(f, numTraining=99), "warning", True),
    Broken(
        "dataset_json",
        "dataset.json",
        lambda f: edit_json(
            f, labels={"background": 0, "organ": [1, 2], "lesion": 2}, regions_class_order=[1, 5]
        ),
        name="a region order that paints an unknown value",
    ),
    Broken(
        "labels_share_value",
        "dataset.json",
        lambda f: edit_json(f, labels={"background": 0, "organ": 1, "lesion": 2, "tumour": 2}),
        "warning",
    ),
    Broken(
        "labels_not_consecutive",
        "dataset.json",
        lambda f: (edit_json(f, labels=SQUASHED), each_label(f, lambda zyx: np.where(zyx == 2, 3, zyx))),
        fixable=True,
    ),
    Broken(
        "reader_reorients",
        "dataset.json",
        lambda f: edit_json(f, overwrite_image_reader_writer="NibabelIOWithReorient"),
        "warning",
    ),
    Broken(
        "label_in_no_case", "dataset.json", lambda f: each_label(f, lambda zyx: np.minimum(zyx, 1)), "warning"
    ),
    # files
    Broken("images_folder_missing", "imagesTr", lambda f: shutil.rmtree(f / "imagesTr")),
    Broken("labels_folder_missing", "labelsTr", lambda f: shutil.rmtree(f / "labelsTr")),
    Broken("no_cases", "imagesTr", lambda f: [path.unlink() for path in (f / "imagesTr").iterdir()]),
    Broken("channel_missing", SECOND, lambda f: pet(f).unlink()),
    Broken(
        "channel_missing",
        "imagesTs/organ_900",
        lambda f: (f / "imagesTs" / "organ_900_0001.nii.gz").unlink(),
        "warning",
        name="test channel missing",
    ),
    Broken("channel_extra", SECOND, lambda f: shutil.copy(pet(f), f / "imagesTr" / "organ_001_0002.nii.gz")),
    Broken("label_missing", SECOND, lambda f: label(f).unlink()),
    Broken(
        "label_without_image",
        "labelsTr/organ_777.nii.gz",
        lambda f: shutil.copy(label(f), f / "labelsTr" / "organ_777.nii.gz"),
        "warning",
        True,
    ),
    Broken(
        "image_name",
        "imagesTr/organ_777.nii.gz",
        lambda f: shutil.copy(ct(f), f / "imagesTr" / "organ_777.nii.gz"),
    ),
    *(
        Broken(
            "case_names",
            "imagesTr",
            lambda f, suffix=suffix: rename(f, f"organ_002_{suffix}"),
            name=f"a case named as the {suffix} of another",
        )
        for suffix in ("label", "foreground")
    ),
    Broken(
        "other_format",
        "imagesTr/organ_777.png",
        lambda f: (f / "imagesTr" / "organ_777.png").write_bytes(b""),
        "warning",
    ),
    Broken(
        "stray_file",
        "imagesTr/notes.txt",
        lambda f: (f / "imagesTr" / "notes.txt").write_text("x"),
        "warning",
        True,
    ),
    Broken(
        "listed_file_missing",
        "a",
        lambda f: edit_json(
            f,
            dataset={
                "a": {"images": ["imagesTr/a.nii.gz", "imagesTr/b.nii.gz"], "label": "labelsTr/a.nii.gz"}
            },
        ),
    ),
    # damaged and odd images
    Broken(
        "image_unreadable",
        SECOND,
        lambda f: ct(f).write_bytes(ct(f).read_bytes()[:-100]),
        name="truncated image",
    ),
    Broken("image_unreadable", SECOND, lambda f: ct(f).write_bytes(b""), name="empty image file"),
    Broken(
        "image_unreadable",
        SECOND,
        lambda f: ct(f).write_bytes(gzip.compress(b"no image")),
        name="no image inside",
    ),
    Broken("image_unreadable", SECOND, lambda f: four_axes(ct(f)), name="four axes"),
    Broken(
        "image_unreadable",
        "imagesTs/organ_900",
        lambda f: (f / "imagesTs" / "organ_900_0000.nii.gz").write_bytes(b"x"),
        "warning",
        name="damaged test image",
    ),
    Broken("label_unreadable", SECOND, lambda f: label(f).write_bytes(b"hello")),
    Broken(
        "image_unreadable",
        "eye_1",
        lambda f: (f / "imagesTr" / "eye_1_0000.png").write_bytes(b"x"),
        base=good_pictures,
        name="damaged png",
    ),
    Broken("alpha_channel", "eye_1", lambda f: save_as(f, "RGBA"), fixable=True, base=good_pictures),
    Broken(
        "image_grey_as_colours",
        "eye_1",
        lambda f: save_as(f, "RGB"),
        fixable=True,
        base=good_greys,
        name="grey in three channels",
    ),
    Broken(
        "image_grey_as_colours",
        "eye_1",
        lambda f: save_as(f, "RGBA"),
        fixable=True,
        base=good_greys,
        name="grey in four channels",
    ),
    Broken(
        "label_not_turned", "eye_1", lambda f: turn(f, 6), base=good_pictures, name="turned by 90 degrees"
    ),
    Broken(
        "label_not_turned",
        "eye_1",
        lambda f: turn(f, 3),
        "warning",
        base=good_pictures,
        name="turned by 180 degrees",
    ),
    Broken(
        "channel_count",
        "eye_1",
        lambda f: (
            PillowImage.open(f / "imagesTr" / "eye_1_0000.png")
            .convert("L")
            .save(f / "imagesTr" / "eye_1_0000.png")
        ),
        base=good_pictures,
    ),
    Broken("nan_or_infinite", SECOND, lambda f: change(pet(f), put(np.nan, np.float32)), name="NaN"),
    Broken("nan_or_infinite", SECOND, lambda f: change(pet(f), put(np.inf, np.float32)), name="infinity"),
    Broken("constant_channel", SECOND, lambda f: change(pet(f), lambda data: data * 0), "warning"),
    Broken("absurd_intensity", SECOND, lambda f: change(pet(f), lambda data: data * 3e12), "warning"),
    Broken(
        "ct_not_in_hu",
        SECOND,
        lambda f: change(ct(f), lambda data: data + 1024),
        "warning",
        name="CT offset by 1024",
    ),
    Broken(
        "ct_not_in_hu",
        SECOND,
        lambda f: change(ct(f), lambda data: (data % 256).astype(np.uint8)),
        "warning",
        name="windowed CT",
    ),
    Broken("missing_data_values", SECOND, lambda f: change(pet(f), put_margin(np.finfo(np.float32).min))),
    Broken(
        "missing_data_values",
        SECOND,
        lambda f: change(pet(f), put_margin(-99.0)),
        "warning",
        name="a mark for missing data that leaves little contrast",
    ),
    # grids
    Broken("channel_shape", SECOND, lambda f: change(pet(f), lambda data: data[:, :, :-1])),
    Broken("channel_spacing", SECOND, lambda f: change(pet(f), spacing_mm=(4.0, 1.0, 1.0))),
    Broken(
        "channel_spacing",
        SECOND,
        lambda f: change(pet(f), spacing_mm=(3.02, 1.0, 1.0)),
        fixable=True,
        name="rounded channel spacing",
    ),
    Broken("channel_origin", SECOND, lambda f: change(pet(f), origin_mm=(0.0, 0.0, 0.0)), "warning", True),
    Broken("channel_direction", SECOND, lambda f: change(pet(f), direction=FLIPPED), "warning"),
    Broken(
        "header_contradiction",
        SECOND,
        lambda f: [contradict(path) for path in (ct(f), pet(f), label(f))],
        "warning",
    ),
    Broken(
        "label_outside_nonzero",
        SECOND,
        lambda f: (
            [change(path, put_margin(0)) for path in (ct(f), pet(f))] and change(label(f), put_margin(1))
        ),
        "warning",
    ),
    Broken("label_shape", SECOND, lambda f: change(label(f), lambda data: data[:, :-1])),
    Broken("label_spacing", SECOND, lambda f: change(label(f), spacing_mm=(3.0, 0.5, 0.5))),
    Broken(
        "label_spacing",
        SECOND,
        lambda f: change(label(f), spacing_mm=(3.0, 1.01, 1.0)),
        fixable=True,
        name="rounded label spacing",
    ),
    Broken("label_origin", SECOND, lambda f: change(label(f), origin_mm=(0.0, 0.0, 0.0)), "warning", True),
    Broken(
        "label_direction",
        SECOND,
        lambda f: change(label(f), direction=FLIPPED),
        "warning",
        name="label stored turned",
    ),
    Broken(
        "label_direction",
        SECOND,
        lambda f: change(label(f), direction=ROTATED),
        "warning",
        True,
        name="label direction rounded",
    ),
    Broken(
        "absurd_spacing",
        SECOND,
        lambda f: [change(path(f), spacing_mm=(3e-6, 1e-6, 1e-6)) for path in (ct, pet, label)],
        "warning",
    ),
    Broken(
        "spacing_outlier",
        SECOND,
        lambda f: [change(path(f), spacing_mm=(90.0, 30.0, 30.0)) for path in (ct, pet, label)],
        "warning",
    ),
    Broken(
        "mixed_orientations",
        SECOND,
        lambda f: [change(path(f), direction=FLIPPED) for path in (ct, pet, label)],
        "warning",
    ),
    Broken(
        "mixed_dimensions",
        SECOND,
        lambda f: [
            change(
                path(f),
                lambda data: data[:, 1:2],
                dimension=2,
                spacing_mm=(999.0, 1.0, 1.0),
                origin_mm=(5.0, -7.0, 0.0),
            )
            for path in (ct, pet, label)
        ],
    ),
    Broken(
        "spacing_file_missing",
        "cell_1",
        lambda f: [
            path.unlink()
            for path in ((f / "imagesTr" / "cell_1_0000.json"), (f / "labelsTr" / "cell_1.json"))
        ],
        "warning",
        base=good_stacks,
    ),
    # label values
    Broken("label_of_0_and_255", "eye_1", lambda f: save_label_as(f, "L"), fixable=True, base=good_pictures),
    Broken(
        "label_grey_as_colours",
        "eye_1",
        lambda f: save_label_as(f, "RGB", 1),
        fixable=True,
        base=good_pictures,
    ),
    Broken(
        "label_grey_as_colours",
        "eye_1",
        lambda f: save_label_as(f, "RGB"),
        fixable=True,
        base=good_pictures,
        name="grey colours 0, 255",
    ),
    Broken("label_colours", "eye_1", lambda f: save_label_as(f, "colours"), base=good_pictures),
    Broken(
        "label_of_0_and_255",
        SECOND,
        lambda f: change(label(f), lambda data: (data > 0) * np.uint8(255)),
        name="0 and 255 of two labels",
    ),
    Broken(
        "label_stored_as_float",
        SECOND,
        lambda f: change(label(f), lambda data: data.astype(np.float32)),
        "warning",
        True,
    ),
    Broken("label_fractions", SECOND, lambda f: change(label(f), put(0.5, np.float32))),
    Broken("label_nan", SECOND, lambda f: change(label(f), put(np.nan, np.float32))),
    Broken("label_negative", SECOND, lambda f: change(label(f), put(-1, np.int16))),
    Broken("label_unknown_value", SECOND, lambda f: change(label(f), put(7, np.uint8))),
    Broken(
        "label_unreadable",
        SECOND,
        lambda f: change(label(f), put(70000, np.int32)),
        name="label value beyond 16 bits",
    ),
    Broken("label_empty", SECOND, lambda f: change(label(f), lambda data: data * 0), "warning"),
    # cases among each other
    Broken(
        "duplicated_image",
        "organ_004",
        lambda f: [shutil.copy(path(f), path(f, 4)) for path in (ct, pet)],
        "warning",
    ),
    Broken(
        "test_image_in_training",
        "imagesTs/organ_900",
        lambda f: [
            shutil.copy(path(f), f / "imagesTs" / path(f).name.replace("organ_001", "organ_900"))
            for path in (ct, pet)
        ],
        "warning",
    ),
    Broken(
        "label_missing_from_fold",
        "splits",
        lambda f: [change(label(f, i), lambda d: np.minimum(d, 1)) for i in range(1, CASES)],
        "warning",
    ),
    Broken(
        "too_few_cases",
        "imagesTr",
        lambda f: [path.unlink() for i in range(1, CASES) for path in (ct(f, i), pet(f, i), label(f, i))],
    ),
    Broken("splits_file", "splits_final.json", lambda f: (f / "splits_final.json").write_text("[{}]")),
    Broken(
        "splits_file",
        "splits_final.json",
        lambda f: write_splits(f, lambda s: [{"train": s[0]["train"], "val": s[1]["val"]}]),
        name="case on both sides",
    ),
    Broken(
        "split_unknown_case",
        "splits_final.json",
        lambda f: write_splits(f, lambda s: [*s, {"train": ["organ_000"], "val": ["ghost"]}]),
    ),
    Broken(
        "split_missing_case",
        "splits_final.json",
        lambda f: write_splits(f, lambda s: [{"train": ["organ_000"], "val": ["organ_001"]}]),
        "warning",
    ),
    Broken(
        "split_repeated_case",
        "splits_final.json",
        lambda f: write_splits(f, lambda s: [*s, s[0]]),
        "warning",
    ),
    Broken(
        "groups_file", "groups.csv", lambda f: (f / "groups.csv").write_text("organ_000,p1\norgan_000,p2\n")
    ),
    Broken(
        "group_unknown_case",
        "groups.csv",
        lambda f: (f / "groups.csv").write_text("ghost,p1\norgan_000,p2\n"),
    ),
    Broken(
        "group_missing",
        "groups.csv",
        lambda f: (f / "groups.csv").write_text("organ_000,p1\norgan_001,p1\n"),
        "warning",
    ),
    Broken(
        "patient_in_several_folds",
        "splits_final.json",
        lambda f: (
            write_splits(f, lambda s: s),
            (f / "groups.csv").write_text("".join(f"organ_{i:03d},patient{i // 2}\n" for i in range(CASES))),
        ),
        "warning",
    ),
    Broken(
        "patient_in_several_folds",
        "splits",
        lambda f: rename_cases(
            f, ["patient1_a", "patient1_b", "patient2_a", "patient2_b", "patient3_a", "patient3_b"]
        ),
        "warning",
        name="patients by name",
    ),
)
