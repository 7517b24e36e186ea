"""Which files a grand-challenge input holds, socket by socket."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk

from balrsam_pipeline.cli import main
from balrsam_pipeline.errors import PredictionError
from balrsam_pipeline.imageio import read_image
from balrsam_pipeline.inference.challenge.settings import model_folder_of, read_settings
from balrsam_pipeline.inference.challenge.sockets import case_of, sockets_of
from balrsam_pipeline.inference.postprocessing import (
    Postprocessing,
    PostprocessingStep,
    write_postprocessing,
)

SLUGS = ("t2-prostate-mri", "adc-prostate-mri")


def inputs(folder: Path, sockets: dict[str, str], word: str = "interface") -> Path:
    """An input folder whose sockets are images, but for what `sockets` says otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = [
        {word: {"slug": slug, "relative_path": path}, "image": {"pk": "8a0f"}}
        for slug, path in sockets.items()
    ]
    (folder / "inputs.json").write_text(json.dumps(entries))
    return folder


def image(path: Path, value: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 3, 4), value, np.int16)), str(path))
    return path


def container(model: Path, folder: Path, *words: str) -> int:
    command = ["submit", "--format", "flare", "--container", "--model", str(model), "-o", str(folder)]
    return main([*command, *words])


def test_a_container_postprocesses_and_tiles_as_the_command_says(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    model = model_folder(folds=(0,))
    largest = Postprocessing(steps=(PostprocessingStep(kind="largest_component", names=("l1",)),))
    write_postprocessing(tmp_path / "rules.json", largest)
    words = ("--postprocessing", str(tmp_path / "rules.json"), "--tile-step", "0.25")
    assert container(model, tmp_path / "with", *words) == 0
    settings = read_settings(tmp_path / "with" / "model")
    assert settings.postprocessing.steps == largest.steps
    assert settings.tile_step == 0.25

    (model / "crossval").mkdir()
    write_postprocessing(model / "crossval" / "postprocessing.json", largest)
    assert container(model, tmp_path / "without", "--no-postprocessing") == 0
    assert read_settings(tmp_path / "without" / "model").postprocessing.steps == ()


def test_a_container_takes_no_rules_for_other_labels(
    model_folder: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There they would make every case fail."""
    other = Postprocessing(steps=(PostprocessingStep(kind="largest_component", names=("spleen",)),))
    write_postprocessing(tmp_path / "rules.json", other)
    words = ("--postprocessing", str(tmp_path / "rules.json"))
    assert container(model_folder(folds=(0,)), tmp_path / "c", *words) == 2
    assert "a rule for spleen" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--batch-size", "2"),
        ("--grey",),
        ("--label-map", "1=2"),
        ("--case-timeout", "9"),
        ("--device", "cpu"),
        ("--no-amp",),
    ],
)
def test_what_a_container_cannot_carry_is_refused(
    model_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    assert container(model_folder(folds=(0,)), tmp_path / "c", *words) == 2
    assert f"leave out {words[0]}" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("word", ["interface", "socket"])
def test_sockets_give_channels_in_the_order_of_the_model(tmp_path: Path, word: str) -> None:
    folder = inputs(tmp_path / "in", {slug: f"images/{slug}" for slug in sorted(SLUGS)}, word)
    files = [
        image(folder / "images" / slug / f"{number}f0c.mha", number) for number, slug in enumerate(SLUGS)
    ]
    assert case_of(folder, SLUGS, tmp_path / "scratch").images == tuple(files)
    assert tuple(sorted(sockets_of(folder))) == tuple(sorted(SLUGS))


def write_dicom(place: Path, voxels: npt.NDArray[np.int16], modality: str = "CT", number: int = 4) -> None:
    """Write a series of voxels of 2.5 × 0.8 × 0.7 mm (z, y, x)."""
    place.mkdir(parents=True, exist_ok=True)
    for z in range(len(voxels)):
        one = sitk.GetImageFromArray(voxels[z])
        one.SetSpacing((0.7, 0.8))
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0060": modality,
            "0020|000d": "1.2.3",
            "0020|000e": f"1.2.3.{number}",
            "0020|0013": str(z + 1),
            "0008|0018": f"1.2.3.{number}.{z + 1}",
            "0020|0032": f"0\\0\\{z * 2.5}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            one.SetMetaData(tag, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(place / f"{number}_{z}.dcm"))
        writer.Execute(one)


@pytest.mark.parametrize("beside", [None, "RTDOSE", "KO"])
def test_a_socket_of_a_dicom_set_is_one_image(tmp_path: Path, beside: str | None) -> None:
    """What was made of the series, and lies beside it, is none."""
    folder = inputs(tmp_path / "in", {"ct": "dicom/ct"})
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    write_dicom(folder / "dicom" / "ct", voxels)
    if beside is not None:
        write_dicom(folder / "dicom" / "ct", voxels, beside, number=5)
    (file,) = case_of(folder, ("ct",), tmp_path / "scratch").images
    read = read_image([file])
    np.testing.assert_array_equal(read.data[0], voxels)
    assert read.geometry.spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_a_socket_of_several_dicom_series_is_refused(tmp_path: Path) -> None:
    folder = inputs(tmp_path / "in", {"ct": "dicom/ct"})
    for number in (4, 5):
        write_dicom(folder / "dicom" / "ct", np.zeros((3, 4, 5), np.int16), number=number)
    with pytest.raises(PredictionError, match="2 DICOM series of images in socket 'ct'"):
        case_of(folder, ("ct",), tmp_path / "scratch")


def test_an_image_behind_a_link_is_found_once_and_links_that_lead_back_end(tmp_path: Path) -> None:
    folder = inputs(tmp_path / "in", {"ct": "images/ct"})
    file = image(tmp_path / "elsewhere" / "a.mha", 1)
    place = folder / "images" / "ct"
    place.mkdir(parents=True)
    (place / "there").symlink_to(file.parent)
    (place / "there_too").symlink_to(file.parent)
    (place / "back").symlink_to(place)
    (place / "above").symlink_to(tmp_path)
    (found,) = case_of(folder, ("ct",), tmp_path / "scratch").images
    assert found.samefile(file)


def test_other_sockets_several_images_and_ways_out_are_refused(tmp_path: Path) -> None:
    folder = inputs(tmp_path / "in", {"ct": "images/ct"})
    with pytest.raises(PredictionError, match="expected: sockets mri"):
        case_of(folder, ("mri",), tmp_path / "scratch")
    with pytest.raises(PredictionError, match="0 images in socket 'ct'"):
        case_of(folder, ("ct",), tmp_path / "scratch")
    image(folder / "images" / "ct" / "a.mha", 1)
    image(folder / "images" / "ct" / "b.tif", 1)
    with pytest.raises(PredictionError, match="2 images in socket 'ct'"):
        case_of(folder, ("ct",), tmp_path / "scratch")
    with pytest.raises(PredictionError, match="lies elsewhere"):
        sockets_of(inputs(tmp_path / "in", {"ct": "../../etc"}))
    (folder / "inputs.json").write_text('{"ct": 1}')
    with pytest.raises(PredictionError, match="cannot be read"):
        sockets_of(folder)


def test_weights_are_taken_from_where_they_are_mounted_else_from_the_container(tmp_path: Path) -> None:
    container, mounted = tmp_path / "container" / "code", tmp_path / "mounted"
    for place in (container.parent / "model", container / "model", mounted):
        place.mkdir(parents=True)
        (place / "container.json").write_text("{}")
        assert model_folder_of(container, mounted) == place
