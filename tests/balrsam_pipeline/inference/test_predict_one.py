"""`predict` from Python: one image in, one label map out, and what is not overwritten on the way."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from balrsam_pipeline.errors import UsageError
from balrsam_pipeline.imageio import Geometry, Image, write_image
from balrsam_pipeline.inference import Predictor, load_predictor, predict

Folders = Callable[..., Path]


@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
def test_an_image_is_not_overwritten_by_its_label_map(
    way: str, image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    image = next(image_folder(1).iterdir())
    before, output = image.read_bytes(), image if way == "itself" else tmp_path / "mask.nii.gz"
    if way != "itself":
        (os.symlink if way == "link" else os.link)(image, output)
    with pytest.raises(UsageError, match="a file that is read"):
        predict(image, model_folder(folds=(0,)), output=output, device="cpu")
    assert image.read_bytes() == before


def test_header_fields_of_nifti_are_those_of_the_image(
    image_folder: Folders, model_folder: Folders, tmp_path: Path
) -> None:
    image = next(image_folder(1).iterdir())
    loaded = nibabel.load(image)
    loaded.header.set_sform(loaded.affine, code=4)
    loaded.header.set_qform(loaded.affine, code=1)
    loaded.header.set_xyzt_units("mm", "msec")
    nibabel.save(nibabel.Nifti1Image(loaded.get_fdata(dtype=np.float32), None, loaded.header), image)
    predict(image, model_folder(folds=(0,)), output=tmp_path / "mask.nii.gz", device="cpu")
    expected, found = (nibabel.load(path).header for path in (image, tmp_path / "mask.nii.gz"))
    for field in ("sform_code", "qform_code", "srow_x", "quatern_b", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(found[field], expected[field])


def test_an_image_unlike_those_of_the_training_is_told(
    model_folder: Folders, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    geometry = Geometry(dimension=3, shape_zyx=(5, 20, 18), spacing_mm=(3.0, 9.0, 9.0))
    coarse = tmp_path / "coarse.nii.gz"
    write_image(coarse, Image(np.random.default_rng(0).normal(size=(1, 5, 20, 18)), geometry))
    predict(coarse, model_folder(folds=(0,)), device="cpu")
    assert "CASE coarse.nii.gz IS UNLIKE WHAT THE MODEL WAS TRAINED ON: voxels of 3 x 9 x 9" in caplog.text


def test_the_checkpoint_below_a_model_can_be_named(
    image_folder: Folders, model_folder: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def load(*arguments: object, **options: object) -> Predictor:
        asked.append(options.pop("base"))
        return load_predictor(*arguments, **options)

    monkeypatch.setattr(sys.modules[predict.__module__], "load_predictor", load)
    image, model = next(image_folder(1).iterdir()), model_folder(folds=(0,))
    predict(image, model, device="cpu", base=tmp_path / "sam.pth")
    assert asked == [tmp_path / "sam.pth"]
