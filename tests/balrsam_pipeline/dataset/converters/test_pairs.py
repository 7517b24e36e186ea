"""Pictures and masks are paired by name; grey values and colours become label values."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image as PillowImage
from PIL import ImageFilter
from scipy.ndimage import binary_erosion

from balrsam_pipeline.dataset import check_dataset, open_dataset, read_case
from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion, parse_value_map
from balrsam_pipeline.dataset.converters.outlines import is_outline
from balrsam_pipeline.dataset.converters.value_map import apply_value_map, count_colours
from balrsam_pipeline.errors import BalrsamError, DatasetError, UsageError
from balrsam_pipeline.imageio import read_label

LABEL = np.zeros((12, 10), np.uint8)
LABEL[2:6, 2:6], LABEL[7:9, 1:8] = 1, 2


def make_pairs(
    folder: Path, image: str = "{}.jpg", mask: str = "{}_mask.png", colours: object = (0, 255, 255)
) -> Path:
    generator = np.random.default_rng(0)
    table = np.array(colours, np.uint8)
    for index in range(5):
        for path in (
            folder / "images" / image.format(f"eye{index}"),
            folder / "masks" / mask.format(f"eye{index}"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(generator.integers(0, 255, (12, 10, 3)).astype(np.uint8)).save(
            folder / "images" / image.format(f"eye{index}")
        )
        PillowImage.fromarray(table[LABEL]).save(folder / "masks" / mask.format(f"eye{index}"))
    return folder


def convert(tmp_path: Path, folder: Path, **options: object) -> Path:
    return CONVERTERS["pairs"](
        Conversion(source=folder, target=tmp_path / "Dataset001_Eyes", **options)
    ).target  # type: ignore[arg-type]


def label_of(target: Path, case: str = "eye1") -> np.ndarray:
    dataset = open_dataset(target)
    _, label = read_case(dataset.training_cases()[case], dataset.description)
    return label.data[0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("{}.jpg", "{}_mask.png"),
        ("{}.png", "{}.png"),
        ("{}_image.bmp", "mask_{}.bmp"),
        ("{}.jpeg", "{}-seg.tif"),
        ("{}.png", "{}_GT.gif.png"),
    ],
)
def test_masks_of_0_and_255_become_0_and_1_whatever_the_files_are_called(
    tmp_path: Path, image: str, mask: str
) -> None:
    if "gif" in mask:
        mask = "{}_GT.png"
    target = convert(tmp_path, make_pairs(tmp_path / "source", image, mask))
    np.testing.assert_array_equal(label_of(target), LABEL > 0)
    dataset = open_dataset(target)
    assert dataset.description.channel_names == ("R", "G", "B")
    assert dataset.description.file_ending == ".png"
    assert check_dataset(target).problems == ()


def test_pixels_of_pictures_are_kept(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "source")
    target = convert(tmp_path, folder)
    np.testing.assert_array_equal(
        np.asarray(PillowImage.open(target / "imagesTr" / "eye2_0000.png")),
        np.asarray(PillowImage.open(folder / "images" / "eye2.jpg")),
    )


def test_masks_of_label_values_are_kept(tmp_path: Path) -> None:
    target = convert(
        tmp_path, make_pairs(tmp_path / "source", colours=(0, 1, 2)), labels={"disc": 1, "cup": 2}
    )
    np.testing.assert_array_equal(label_of(target), LABEL)
    assert open_dataset(target).description.labels.names == ("disc", "cup")


def test_colours_become_the_values_of_the_map(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "source", colours=((0, 0, 0), (255, 0, 0), (0, 128, 255)))
    with pytest.raises(DatasetError, match="0/128/255, 255/0/0") as caught:
        convert(tmp_path, folder)
    assert "--value-map" in caught.value.fix
    target = convert(tmp_path, folder, value_map=parse_value_map("#ff0000=1,0/128/255=2"))
    np.testing.assert_array_equal(label_of(target), LABEL)


def test_grey_masks_of_two_structures_need_a_map(tmp_path: Path) -> None:
    folder = make_pairs(tmp_path / "source", colours=(0, 128, 255))
    with pytest.raises(DatasetError, match="128, 255"):
        convert(tmp_path, folder)
    np.testing.assert_array_equal(
        label_of(convert(tmp_path, folder, value_map={(128,): 1, (255,): 2})), LABEL
    )


def test_inverted_masks_can_be_mapped(tmp_path: Path) -> None:
    target = convert(
        tmp_path, make_pairs(tmp_path / "source", colours=(255, 0, 0)), value_map={(255,): 0, (0,): 1}
    )
    np.testing.assert_array_equal(label_of(target), LABEL > 0)


def test_volumes_can_be_paired_too(tmp_path: Path) -> None:
    for index in range(3):
        for name, dtype in (("images", np.int16), ("masks", np.float32)):
            (tmp_path / "source" / name).mkdir(parents=True, exist_ok=True)
            image = sitk.GetImageFromArray(
                np.stack([LABEL, LABEL]).astype(dtype) + (index if name == "images" else 0)
            )
            image.SetSpacing((0.5, 0.5, 3.0))
            sitk.WriteImage(image, str(tmp_path / "source" / name / f"liver_{index}.nii.gz"))
    target = convert(tmp_path, tmp_path / "source", channel_names=("CT",))
    dataset = open_dataset(target)
    image, label = read_case(dataset.training_cases()["liver_1"], dataset.description)
    assert dataset.description.channel_names == ("CT",)
    assert label is not None
    assert label.geometry == image.geometry
    np.testing.assert_array_equal(label.data[0, 1], LABEL)


def break_missing(folder: Path) -> None:
    (folder / "masks" / "eye3_mask.png").unlink()


def break_extra(folder: Path) -> None:
    (folder / "images" / "eye3.jpg").unlink()


def break_size(folder: Path) -> None:
    PillowImage.fromarray(LABEL[:5] * 255).save(folder / "masks" / "eye3_mask.png")


def break_twice(folder: Path) -> None:
    PillowImage.fromarray(LABEL).save(folder / "masks" / "eye3_seg.png")


def break_format(folder: Path) -> None:
    (folder / "images" / "eye3.jpg").rename(folder / "images" / "eye3.mha")


@pytest.mark.parametrize("damage", [break_missing, break_extra, break_size, break_twice, break_format])
def test_what_does_not_fit_is_named_and_nothing_is_left(tmp_path: Path, damage: object) -> None:
    folder = make_pairs(tmp_path / "source")
    damage(folder)  # type: ignore[operator]
    with pytest.raises(DatasetError):
        convert(tmp_path, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_value_maps_are_read_in_three_notations_and_applied_to_grey_and_colour() -> None:
    value_map = parse_value_map("255=1, #00ff00=2,10/20/30=3")
    assert value_map == {(255,): 1, (0, 255, 0): 2, (10, 20, 30): 3}
    pixels = np.array([[0, 0, 0], [255, 255, 255], [0, 255, 0], [10, 20, 30]], np.uint8).T.reshape(3, 1, 1, 4)
    assert apply_value_map(pixels, value_map).ravel().tolist() == [0, 1, 2, 3]
    assert count_colours(pixels) == {(0,): 1, (0, 255, 0): 1, (10, 20, 30): 1, (255,): 1}
    assert apply_value_map(
        np.array([0, 255, 10], np.uint8).reshape(1, 1, 1, 3), value_map
    ).ravel().tolist() == [0, 1, 0]


@pytest.mark.parametrize("text", ["255", "#ff=1", "1/2=3", "a=1", "255=x"])
def test_a_malformed_value_map_shows_how_to_write_one(text: str) -> None:
    with pytest.raises(BalrsamError, match="COLOUR=VALUE"):
        parse_value_map(text)


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_masks_with_a_fringe_are_offered_a_threshold_that_makes_one_label(
    tmp_path: Path, ending: str
) -> None:
    """JPEG and smoothing put values between 0 and 255."""
    source = tmp_path / "source"
    for name in ("images", "masks"):
        (source / name).mkdir(parents=True)
    disk = np.hypot(*(np.mgrid[:60, :70] - 30.0)) < 20
    for index in range(3):
        PillowImage.fromarray(disk.astype(np.uint8) * 90).save(source / "images" / f"p{index}.png")
        mask = PillowImage.fromarray(disk.astype(np.uint8) * 255)
        mask = mask if ending == ".jpg" else mask.filter(ImageFilter.BoxBlur(1))
        mask.save(source / "masks" / f"p{index}{ending}")
    options = {"source": source, "target": tmp_path / "Dataset001_Disk", "labels": {"disk": 1}}
    with pytest.raises(DatasetError) as refused:
        CONVERTERS["pairs"](Conversion(**options))
    offered = re.search(r"--value-map '(\d+-255=1)'", str(refused.value))
    assert offered is not None, refused.value
    CONVERTERS["pairs"](Conversion(**options, value_map=parse_value_map(offered[1])))
    label = read_label(tmp_path / "Dataset001_Disk" / "labelsTr" / "p0.png").data[0, 0]
    assert set(np.unique(label)) == {0, 1}
    assert abs(int(label.sum()) - int(disk.sum())) < 0.05 * disk.sum()


@pytest.mark.parametrize("text", ["255-128=1", "1-2-3=1", "-5=1", "a-b=1"])
def test_a_malformed_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_value_map(text)


def save_pictures(source: Path, names: dict[str, tuple[str, ...]], value: int = 255) -> Path:
    """Pictures called so in folders called so; masks are 0 and `value`, images of one grey each."""
    disk = (np.hypot(*(np.mgrid[:20, :24] - 10.0)) < 6).astype(np.uint8)
    for folder, files in names.items():
        (source / folder).mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(files):
            is_mask = any(
                word in (folder + name).lower() for word in ("mask", "manual", "annot", "seg", "gt")
            )
            PillowImage.fromarray(disk * value if is_mask else disk + np.uint8(10 * index)).save(
                source / folder / name
            )
    return source


@pytest.mark.parametrize(
    ("images", "masks", "cases"),
    [
        (("21_training.png", "01_test.png"), ("21_manual1.gif", "01_manual1.gif"), {"21", "01"}),
        (
            ("ISIC_0000000.jpg", "ISIC_0000001.jpg"),
            ("ISIC_0000000_segmentation.png", "ISIC_0000001_Segmentation.png"),
            {"ISIC_0000000", "ISIC_0000001"},
        ),
        (
            ("000_HC.png", "001_HC.png"),
            ("000_HC_Annotation.png", "001_HC_Annotation.png"),
            {"000_HC", "001_HC"},
        ),
        (("scan_1.png", "scan_2.png"), ("1.png", "2.png"), {"1", "2"}),
        (("scan_10.png", "scan_11.png"), ("lesion-10.png", "lesion-11.png"), {"10", "11"}),
        (("a_image.png", "b_image.png"), ("a_image_mask.png", "b_image_mask.png"), {"a_image", "b_image"}),
        (
            ("frame_0000.png", "frame_0001.png"),
            ("frame_0000.png", "frame_0001.png"),
            {"frame_0000", "frame_0001"},
        ),
        (
            ("frame_0000.png", "frame_0001.png"),
            ("frame_0000_mask.png", "frame_0001_mask.png"),
            {"frame_0000", "frame_0001"},
        ),
    ],
)
def test_common_ways_of_naming_are_found_out(
    tmp_path: Path, images: tuple[str, ...], masks: tuple[str, ...], cases: set[str]
) -> None:
    source = save_pictures(tmp_path / "source", {"images": images, "masks": masks})
    assert set(open_dataset(convert(tmp_path, source)).training_cases()) == cases


def test_names_that_differ_in_numbers_are_not_paired(tmp_path: Path) -> None:
    """p1_a and p2_a are pictures of two patients, whatever all names have in common."""
    source = save_pictures(
        tmp_path / "source", {"images": ("p1_a.png", "p1_b.png"), "masks": ("p2_a.png", "p2_b.png")}
    )
    with pytest.raises(DatasetError, match=r"p1_a\.png, p1_b\.png; 2 masks without an image: p2_a\.png"):
        convert(tmp_path, source)


def test_a_pattern_chooses_among_several_masks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    masks = ("1_manual1.png", "1_manual2.png", "2_manual1.png", "2_manual2.png")
    source = save_pictures(tmp_path / "source", {"images": ("1_test.png", "2_test.png"), "masks": masks})
    with pytest.raises(DatasetError, match="several files of one case"):
        convert(tmp_path, source)
    target = convert(tmp_path, source, pattern=("{case}_test", "{case}_manual2"))
    assert set(open_dataset(target).training_cases()) == {"1", "2"}
    assert "passed over: 1_manual1.png, 2_manual1.png" in caplog.text


def test_one_folder_may_hold_images_and_masks(tmp_path: Path) -> None:
    names = ("000_HC.png", "000_HC_Annotation.png", "001_HC.png", "001_HC_Annotation.png")
    source = save_pictures(tmp_path / "source", {".": names})
    target = convert(tmp_path, source)
    assert set(open_dataset(target).training_cases()) == {"000_HC", "001_HC"}
    assert label_of(target, "000_HC").max() == 1


def test_folders_of_usual_names_are_found_and_doubt_is_told(tmp_path: Path) -> None:
    names = {"imgs": ("1.png", "2.png"), "1st_manual": ("1.png", "2.png")}
    source = save_pictures(tmp_path / "source", names)
    assert len(open_dataset(convert(tmp_path, source)).training_cases()) == 2
    save_pictures(source, {"mask": ("1.png", "2.png")})
    with pytest.raises(DatasetError, match="the folders 1st_manual, imgs, mask") as refused:
        CONVERTERS["pairs"](Conversion(source=source, target=tmp_path / "Dataset002_Doubt"))
    assert "--masks FOLDER" in refused.value.fix


def test_files_left_over_are_named(tmp_path: Path) -> None:
    names = {"images": ("a.png", "b.png", "c.png"), "masks": ("a_mask.png", "b_mask.png", "d_mask.png")}
    with pytest.raises(DatasetError) as refused:
        convert(tmp_path, save_pictures(tmp_path / "source", names))
    assert "1 images without a mask: c.png; 1 masks without an image: d_mask.png" in refused.value.found


def test_files_that_are_no_images_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = save_pictures(tmp_path / "source", {"images": ("a.png", "b.png"), "masks": ("a.png", "b.png")})
    (source / "images" / "c.webp").write_bytes(b"RIFF")
    convert(tmp_path, source)
    assert "passed over: c.webp" in caplog.text


def test_an_animated_gif_is_refused_by_name(tmp_path: Path) -> None:
    source = save_pictures(tmp_path / "source", {"images": ("a.png", "b.png"), "masks": ("a.png",)})
    frames = [PillowImage.fromarray(np.full((20, 24), grey, np.uint8)) for grey in (0, 255)]
    frames[0].save(source / "masks" / "b.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DatasetError, match=r"b\.gif[\s\S]*animated GIF of 2 pictures"):
        convert(tmp_path, source)


def test_a_gif_is_read_by_its_colours_however_they_are_numbered(tmp_path: Path) -> None:
    """White may be colour 0 of a GIF."""
    source = save_pictures(tmp_path / "source", {"images": ("a.gif", "b.gif"), "masks": ("a.png",)})
    disk = np.asarray(PillowImage.open(source / "masks" / "a.png")) > 0
    picture = PillowImage.fromarray((~disk).astype(np.uint8), mode="P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(source / "masks" / "b.gif")
    target = convert(tmp_path, source)
    np.testing.assert_array_equal(label_of(target, "b"), disk)
    assert open_dataset(target).description.file_ending == ".png"


@pytest.mark.parametrize(("text", "expected"), [("all=1", [0, 1, 1, 1]), ("1-254=1,255=2", [0, 1, 1, 2])])
def test_value_maps_know_ranges_and_all(tmp_path: Path, text: str, expected: list[int]) -> None:
    greys = np.array([0, 7, 254, 255], np.uint8).reshape(1, 1, 1, 4)
    assert apply_value_map(greys, parse_value_map(text)).ravel().tolist() == expected


def test_all_gives_way_to_what_is_named_and_takes_colours(tmp_path: Path) -> None:
    colours = ((0, 0, 0), (255, 0, 0), (0, 128, 255))
    source = make_pairs(tmp_path / "source", colours=colours)
    target = convert(tmp_path, source, value_map=parse_value_map("0/128/255=2,all=1"))
    np.testing.assert_array_equal(label_of(target), LABEL)


def test_masks_of_test_images_become_labels_of_test_cases(tmp_path: Path) -> None:
    names = {
        "images": ("1_training.png", "2_training.png"),
        "masks": ("1_manual1.png", "2_manual1.png"),
        "test": ("3_test.png", "4_test.png"),
        "test_masks": ("3_manual1.png", "4_manual1.png"),
    }
    target = convert(tmp_path, save_pictures(tmp_path / "source", names), test_masks="test_masks")
    assert sorted(path.name for path in (target / "labelsTs").iterdir()) == ["3.png", "4.png"]
    assert sorted(path.name for path in (target / "imagesTs").iterdir()) == ["3_0000.png", "4_0000.png"]
    assert read_label(target / "labelsTs" / "3.png").data.max() == 1


def test_a_map_that_makes_everything_background_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="background alone") as refused:
        convert(tmp_path, make_pairs(tmp_path / "source"), value_map=parse_value_map("1-254=1"))
    assert "255=1" in refused.value.fix


def test_a_label_that_no_mask_holds_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert(tmp_path, make_pairs(tmp_path / "source"), value_map=parse_value_map("255=1,128=2"))
    assert "no mask holds what would become label 2" in caplog.text


def test_outlines_are_told_and_filled_on_demand(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A head of HC18 is an ellipse's line; a cup lies within a disc."""
    rows, columns = np.mgrid[:80, :90]
    disc, cup = (np.hypot(rows - 40, columns - 45) <= radius for radius in (35, 15))
    lines = np.zeros((80, 90), np.uint8)
    for value, shape in ((1, disc), (2, cup)):
        lines[shape & ~binary_erosion(shape)] = value
    for index in range(3):
        for folder, name, pixels in (
            ("images", f"{index}_HC.png", disc),
            ("masks", f"{index}_HC_Annotation.png", lines),
        ):
            (tmp_path / "source" / folder).mkdir(parents=True, exist_ok=True)
            picture = pixels.astype(np.uint8) * (1 if folder == "masks" else 50 + index)
            PillowImage.fromarray(picture).save(tmp_path / "source" / folder / name)
    np.testing.assert_array_equal(label_of(convert(tmp_path, tmp_path / "source"), "0_HC"), lines)
    assert "3 of 3 masks are outlines" in caplog.text and "--fill-outlines" in caplog.text
    target = CONVERTERS["pairs"](
        Conversion(source=tmp_path / "source", target=tmp_path / "Dataset002_Filled", fill_outlines=True)
    ).target
    np.testing.assert_array_equal(label_of(target, "0_HC"), disc.astype(int) + cup)


def test_pictures_turned_by_their_exif_tag_alone_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images, masks = tmp_path / "source" / "images", tmp_path / "source" / "masks"
    images.mkdir(parents=True)
    masks.mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (12, 10, 3)).astype(np.uint8)
    mask = np.zeros((12, 10), np.uint8)
    mask[2:6, 3:8] = 255
    for name, orientation in (("a", 1), ("b", 3), ("c", 6)):
        exif = PillowImage.Exif()
        exif[0x0112] = orientation
        PillowImage.fromarray(picture).save(images / f"{name}.jpg", exif=exif)
        PillowImage.fromarray(mask).save(masks / f"{name}.gif" if name == "a" else masks / f"{name}.png")
    with pytest.raises(DatasetError, match="remove the tag from a copy"):
        CONVERTERS["pairs"](Conversion(source=tmp_path / "source", target=tmp_path / "Dataset001_Turned"))
    for folder, ending in ((images, "jpg"), (masks, "png")):
        (folder / f"c.{ending}").unlink()
    CONVERTERS["pairs"](Conversion(source=tmp_path / "source", target=tmp_path / "Dataset002_Turned"))
    assert "1 picture(s) are turned upright by their EXIF tag" in caplog.text
    assert ": b; look at some" in caplog.text


def test_solid_masks_and_rings_of_tissue_are_no_outlines() -> None:
    distance = np.hypot(*(np.mgrid[:60, :60] - 30.0))[None]
    for mask in (distance < 20, (distance < 20) & (distance > 13), np.zeros_like(distance)):
        assert not is_outline(mask.astype(np.uint16))
