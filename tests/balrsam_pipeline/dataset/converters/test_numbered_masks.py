"""BUSI's second lesion of a picture is part of its mask, and no picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from balrsam_pipeline.dataset import open_dataset
from balrsam_pipeline.dataset.converters import CONVERTERS, Conversion
from balrsam_pipeline.dataset.converters.pairing import pair_by_name
from balrsam_pipeline.errors import DatasetError
from balrsam_pipeline.imageio import read_label


def lesion(start: int, stop: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((20, 24), np.uint8)
    mask[start:stop, 4:9] = value
    return mask


def busi(folder: Path, second: np.ndarray, in_one_folder: bool = True) -> Path:
    """Two pictures, of which "benign (2)" has two lesions."""
    images, masks = (folder, folder) if in_one_folder else (folder / "images", folder / "masks")
    generator = np.random.default_rng(0)
    for place in (images, masks):
        place.mkdir(parents=True, exist_ok=True)
    for number in (1, 2):
        picture = generator.integers(0, 255, (20, 24)).astype(np.uint8)
        PillowImage.fromarray(picture).save(images / f"benign ({number}).png")
        PillowImage.fromarray(lesion(2, 6)).save(masks / f"benign ({number})_mask.png")
    PillowImage.fromarray(second).save(masks / "benign (2)_mask_1.png")
    return folder


@pytest.mark.parametrize("in_one_folder", [True, False])
def test_further_masks_of_an_image_are_joined_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, in_one_folder: bool
) -> None:
    source = busi(tmp_path / "source", lesion(5, 15), in_one_folder)
    caplog.set_level("INFO")
    target = CONVERTERS["pairs"](Conversion(source=source, target=tmp_path / "Dataset001_Busi")).target
    assert sorted(open_dataset(target).training_cases()) == ["benign (1)", "benign (2)"]
    for number, expected in ((1, lesion(2, 6, 1)), (2, lesion(2, 15, 1))):
        found = read_label(target / "labelsTr" / f"benign ({number}).png").data[0, 0]
        np.testing.assert_array_equal(found, expected)
    assert "1 further mask(s) joined" in caplog.text and "benign (2)_mask_1.png" in caplog.text


def test_masks_that_contradict_each_other_are_refused_by_name(tmp_path: Path) -> None:
    source = busi(tmp_path / "source", lesion(5, 15, 128))
    value_map = {(255,): 1, (128,): 2}
    with pytest.raises(DatasetError) as refused:
        CONVERTERS["pairs"](
            Conversion(source=source, target=tmp_path / "Dataset001_Busi", value_map=value_map)
        )
    assert "case benign (2)" in refused.value.found and "5 pixel(s)" in refused.value.found
    assert "benign (2)_mask.png" in refused.value.found and "benign (2)_mask_1.png" in refused.value.found
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_number_that_images_have_too_is_that_of_a_case() -> None:
    images = [Path(f"scan{number}.png") for number in ("", "_1", "_2")]
    masks = [Path(f"scan_mask{number}.png") for number in ("", "_1", "_2")]
    with pytest.raises(DatasetError):  # nothing says whether scan_mask_1 is of scan or of scan_1
        pair_by_name(images, masks, Path("masks"))


def test_masks_of_two_readers_are_not_joined() -> None:
    images = [Path("a.png"), Path("b.png")]
    masks = [Path(f"{case}_mask_{reader}.png") for case in "ab" for reader in (1, 2)]
    with pytest.raises(DatasetError):
        pair_by_name(images, masks, Path("masks"))


def test_masks_are_joined_in_the_order_of_their_numbers() -> None:
    masks = [Path(f"a_mask{number}.png") for number in ("", "_10", "_2", "_1")]
    ((_, joined),) = pair_by_name([Path("a.png")], masks, Path("masks")).pairs.values()
    assert [path.stem for path in joined] == ["a_mask", "a_mask_1", "a_mask_2", "a_mask_10"]
