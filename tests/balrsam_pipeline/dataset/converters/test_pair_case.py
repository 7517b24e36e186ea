"""Pictures of several kinds become one; transparency is left out; a folder of masks may be a label."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from PIL import Image as PillowImage

from balrsam_pipeline.dataset import check_dataset, open_dataset
from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import read_image, read_label

SHAPE = (16, 18)
RANDOM = np.random.default_rng(0)
COLOURS = RANDOM.integers(0, 256, (*SHAPE, 3)).astype(np.uint8)
GREYS = RANDOM.integers(0, 256, SHAPE).astype(np.uint8)
DEEP = RANDOM.integers(0, 60_000, SHAPE).astype(np.uint16)


def box(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[rows, columns] = 255
    return mask


LEFT, RIGHT = box(slice(2, 9), slice(1, 6)), box(slice(2, 9), slice(10, 15))


def save(path: Path, pixels: np.ndarray, **tags: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, **tags)
    else:
        PillowImage.fromarray(pixels).save(path)


def convert(tmp_path: Path, **options: object) -> Path:
    made = Conversion(source=tmp_path / "source", target=tmp_path / "Dataset001_Mixed", **options)  # type: ignore[arg-type]
    return CONVERTERS["pairs"](made).target


def pictures(tmp_path: Path, images: dict[str, np.ndarray]) -> None:
    for name, pixels in images.items():
        save(tmp_path / "source" / "images" / name, pixels)
        save(tmp_path / "source" / "masks" / f"{Path(name).stem}.png", LEFT)


def converted(target: Path, case: str, ending: str = ".png") -> np.ndarray:
    return read_image([target / "imagesTr" / f"{case}_0000{ending}"]).data[:, 0]


def test_pictures_of_several_formats_become_png_with_their_values(tmp_path: Path) -> None:
    pictures(tmp_path, {"a.png": COLOURS, "b.tif": COLOURS[::-1], "c.bmp": COLOURS[:, ::-1]})
    target = convert(tmp_path)
    assert open_dataset(target).description.file_ending == ".png"
    np.testing.assert_array_equal(converted(target, "b"), np.moveaxis(COLOURS[::-1], -1, 0))
    assert check_dataset(target).errors == ()


def test_sixteen_bits_of_a_tiff_among_pictures_stay_sixteen(tmp_path: Path) -> None:
    pictures(tmp_path, {"a.png": GREYS, "b.tif": DEEP, "c.png": GREYS[::-1]})
    found = converted(convert(tmp_path), "b")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[0], DEEP)


@pytest.mark.parametrize("pixels", [GREYS.astype(np.float32), np.stack([GREYS] * 7)])
def test_a_tiff_that_png_cannot_hold_is_refused_by_name(tmp_path: Path, pixels: np.ndarray) -> None:
    pictures(tmp_path, {"a.png": GREYS, "b.tif": pixels})
    with pytest.raises(DatasetError, match=r"b\.tif[\s\S]*8 or 16 bits"):
        convert(tmp_path)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_grey_pictures_among_coloured_ones_get_three_equal_channels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    images = {f"a{ending}": COLOURS, f"b{ending}": GREYS, f"c{ending}": COLOURS[::-1], f"d{ending}": DEEP}
    pictures(tmp_path, images)
    save(tmp_path / "source" / "test" / f"e{ending}", GREYS[::-1])
    caplog.set_level("INFO")
    target = convert(tmp_path)
    for case, pixels in (("b", GREYS), ("d", DEEP)):
        np.testing.assert_array_equal(converted(target, case, ending), np.stack([pixels] * 3))
    assert read_image([target / "imagesTs" / f"e_0000{ending}"]).data.shape[0] == 3
    assert f"2 grey picture(s) among RGB ones have three equal channels now: b{ending}" in caplog.text
    assert check_dataset(target).errors == ()


@pytest.mark.parametrize("colours", [COLOURS, GREYS[..., None]])
def test_transparency_of_a_tiff_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, colours: np.ndarray
) -> None:
    alpha = np.full((*SHAPE, 1), 255, np.uint8)
    tags = {
        "photometric": "rgb" if colours.shape[-1] == 3 else "minisblack",
        "extrasamples": ["unassalpha"],
        "planarconfig": "contig",
    }
    for name in ("a", "b"):
        pixels = np.concatenate([colours, alpha], axis=-1)
        save(tmp_path / "source" / "images" / f"{name}.tif", pixels if name == "a" else pixels[::-1], **tags)
        save(tmp_path / "source" / "masks" / f"{name}.png", LEFT)
    caplog.set_level("INFO")
    target = convert(tmp_path)
    np.testing.assert_array_equal(converted(target, "a", ".tif"), np.moveaxis(colours, -1, 0))
    assert len(open_dataset(target).description.channel_names) == colours.shape[-1]
    assert "2 image(s) without their transparency channel: a.tif, b.tif" in caplog.text


@pytest.mark.parametrize("tag", ["unspecified", "unassalpha"])
def test_a_fourth_channel_that_is_named_or_not_transparency_is_kept(tmp_path: Path, tag: str) -> None:
    """tifffile marks whatever comes fourth as transparency where it is not told otherwise."""
    pixels = np.concatenate([COLOURS, GREYS[..., None]], axis=-1)
    for name in ("a", "b"):
        path = tmp_path / "source" / "images" / f"{name}.tif"
        save(path, pixels if name == "a" else pixels[::-1], photometric="rgb", extrasamples=[tag])
        save(tmp_path / "source" / "masks" / f"{name}.png", LEFT)
    names = ("R", "G", "B", "NIR") if tag == "unassalpha" else ()
    assert converted(convert(tmp_path, channel_names=names), "a", ".tif").shape[0] == 4


def two_folders(tmp_path: Path, right: np.ndarray) -> None:
    for case in ("a", "b"):
        save(tmp_path / "source" / "images" / f"{case}.png", GREYS if case == "a" else GREYS[::-1])
        save(tmp_path / "source" / "leftMask" / f"{case}.png", LEFT)
        save(tmp_path / "source" / "rightMask" / f"{case}.png", right)


def test_each_folder_of_masks_is_a_label_of_its_name(tmp_path: Path) -> None:
    two_folders(tmp_path, RIGHT // 255)
    target = convert(tmp_path, masks="leftMask", more_masks=("rightMask",))
    assert open_dataset(target).description.labels.names == ("leftMask", "rightMask")
    label = read_label(target / "labelsTr" / "a.png").data[0, 0]
    np.testing.assert_array_equal(label, (LEFT > 0) + 2 * (RIGHT > 0))


@pytest.mark.parametrize(
    "labels", [{"lung": 1}, {"left": 1, "right": 2, "heart": 3}, {"left": 0, "right": 1}]
)
def test_labels_that_are_not_one_for_each_folder_are_refused(tmp_path: Path, labels: dict[str, int]) -> None:
    two_folders(tmp_path, RIGHT // 255)
    with pytest.raises(DatasetError, match="each of the 2 folders") as refused:
        convert(tmp_path, masks="leftMask", more_masks=("rightMask",), labels=labels)
    assert refused.value.fix == "--labels leftMask=1 rightMask=2"


def test_folders_whose_masks_overlap_are_refused_by_case(tmp_path: Path) -> None:
    two_folders(tmp_path, box(slice(2, 9), slice(5, 9)))
    with pytest.raises(DatasetError) as refused:
        convert(tmp_path, masks="leftMask", more_masks=("rightMask",))
    assert (
        refused.value.found == "case a: leftMask/a.png and rightMask/a.png give 7 pixel(s) different labels"
    )


def test_a_folder_of_several_labels_beside_another_is_refused(tmp_path: Path) -> None:
    two_folders(tmp_path, RIGHT // 255 + LEFT // 255 * 2)
    with pytest.raises(DatasetError, match="masks of 2 labels") as refused:
        convert(tmp_path, masks="leftMask", more_masks=("rightMask",))
    assert "all=1" in refused.value.fix


def test_where_several_folders_could_be_masks_the_message_says_how_to_join_them(tmp_path: Path) -> None:
    two_folders(tmp_path, RIGHT)
    with pytest.raises(DatasetError) as refused:
        convert(tmp_path)
    assert "--masks leftMask rightMask" in refused.value.fix


@pytest.mark.parametrize("ending", ["tif", "nii.gz"])
def test_the_blocks_that_one_stack_is_told_to_be_cut_into_are_cases(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """What the message says is run as it stands, for image and mask."""
    stacks = {
        "images": RANDOM.integers(0, 256, (15, *SHAPE)).astype(np.uint8),
        "masks": np.stack([LEFT] * 15),
    }
    for folder, voxels in stacks.items():
        (tmp_path / "source" / folder).mkdir(parents=True)
        sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "source" / folder / f"em.{ending}"))
    convert(tmp_path)
    advice = re.search(r"in Python: (.+), and the same", caplog.text)
    assert advice is not None
    monkeypatch.chdir(tmp_path)
    for folder in stacks:
        (tmp_path / "blocks" / folder).mkdir(parents=True)
        code = advice[1].replace(f"FILE.{ending}", "FILE").replace("FILE", f"source/{folder}/em.{ending}")
        exec(
            code.replace("blocks/images", f"blocks/{folder}"),
            {"numpy": np, "tifffile": tifffile, "sitk": sitk},
        )
    made = Conversion(source=tmp_path / "blocks", target=tmp_path / "Dataset002_Blocks")
    assert CONVERTERS["pairs"](made).training_cases == 5
    assert check_dataset(tmp_path / "Dataset002_Blocks").errors == ()


def volumes(tmp_path: Path) -> sitk.Image:
    """Two images, and masks of what is bright in them; returns the mask."""
    image = sitk.GetImageFromArray(RANDOM.normal(0, 1, (4, *SHAPE)).astype(np.float32))
    image.SetSpacing((0.5, 0.5, 3.0))
    image.SetOrigin((10.0, -20.0, 30.0))
    for folder in ("images", "masks"):
        (tmp_path / "source" / folder).mkdir(parents=True)
    for case in ("a", "b"):
        sitk.WriteImage(image + (case == "b"), str(tmp_path / "source" / "images" / f"{case}.nii.gz"))
        mask = sitk.Cast(image > 0.5, sitk.sitkUInt8)
        sitk.WriteImage(mask, str(tmp_path / "source" / "masks" / f"{case}.nii.gz"))
    return mask


@pytest.mark.parametrize("code", ["RAS", "SPL"])
def test_a_mask_stored_in_another_orientation_lies_where_its_image_is_bright(
    tmp_path: Path, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    mask = sitk.DICOMOrient(volumes(tmp_path), code)
    sitk.WriteImage(mask, str(tmp_path / "source" / "masks" / "a.nii.gz"))
    target = convert(tmp_path)
    image = read_image([target / "imagesTr" / "a_0000.nii.gz"]).data
    np.testing.assert_array_equal(read_label(target / "labelsTr" / "a.nii.gz").data, image > 0.5)
    assert "lie elsewhere" not in caplog.text


def test_a_mask_of_another_spacing_is_refused_and_one_elsewhere_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mask, path = volumes(tmp_path), tmp_path / "source" / "masks" / "a.nii.gz"
    mask.SetSpacing((1.0, 1.0, 3.0))
    sitk.WriteImage(mask, str(path))
    with pytest.raises(DatasetError, match=r"a\.nii\.gz[\s\S]*mask with spacing 3 × 1 × 1 mm"):
        convert(tmp_path)
    mask.SetSpacing((0.5, 0.5, 3.0))
    mask.SetOrigin((10.0, -20.0, 90.0))
    sitk.WriteImage(mask, str(path))
    target = convert(tmp_path)
    assert "1 mask(s) lie elsewhere than their images by their headers" in caplog.text
    assert "a.nii.gz: mask with origin 10 × -20 × 90 mm" in caplog.text
    assert read_label(target / "labelsTr" / "a.nii.gz").data.any()


def test_a_picture_of_a_mask_says_nothing_of_places(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = sitk.GetArrayFromImage(volumes(tmp_path))
    for case in ("a", "b"):
        (tmp_path / "source" / "masks" / f"{case}.nii.gz").unlink()
        save(tmp_path / "source" / "masks" / f"{case}.tif", mask, photometric="minisblack")
    target = convert(tmp_path)
    assert "lie elsewhere" not in caplog.text
    np.testing.assert_array_equal(read_label(target / "labelsTr" / "a.nii.gz").data[0], mask)
