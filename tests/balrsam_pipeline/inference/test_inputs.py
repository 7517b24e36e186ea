"""Which cases a folder of images holds, and what of it is not read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from balrsam_pipeline.inference.inputs import find_cases


def folder_of(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def test_an_npz_file_is_a_case_but_beside_the_image_of_its_case(tmp_path: Path) -> None:
    names = ("a_0000.nii.gz", "a.npz", "b_0000.npz", "c_0000.nii", "c_0000.npz")
    inputs = find_cases([folder_of(tmp_path, *names)], 1, ".nii.gz")
    assert {case: files.images[0].name for case, files in inputs.cases.items()} == {
        "a": "a_0000.nii.gz",
        "b": "b_0000.npz",
        "c": "c_0000.nii",
    }
    assert not inputs.refused


def test_images_that_are_not_read_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = ("c_0000.mhd", "d_0000.nii.bz2", "f_0000.webp")
    folder_of(tmp_path, "a_0000.nii.gz", "notes.txt", "sub/e_0000.nii.gz", "empty/x.txt", *odd)
    with caplog.at_level("INFO"):
        assert list(find_cases([tmp_path], 1, ".nii.gz").cases) == ["a"]
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1 and all(name in warned[0] for name in odd) and "notes" not in warned[0]
    noted = [record.getMessage() for record in caplog.records if record.levelname == "INFO"]
    assert len(noted) == 1 and "sub" in noted[0] and "empty" not in noted[0]


def test_nothing_is_said_of_a_folder_that_is_read_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder_of(tmp_path, "a_0000.nii.gz", "a_0000.webp", "b.tif", "b.json", "notes.txt", ".c.mhd")
    with caplog.at_level("INFO"):
        assert list(find_cases([tmp_path], 1, ".nii.gz").cases) == ["a", "b"]
    assert not caplog.records


@pytest.mark.parametrize("picture", ["overview.png", "a_0000.PNG", "a.jpg"])
def test_pictures_beside_volumes_are_no_cases_of_a_model_of_volumes(
    picture: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder_of(tmp_path, "a_0000.nii.gz", "b_0000.mha", picture)
    inputs = find_cases([tmp_path], 1, ".nii.gz")
    assert list(inputs.cases) == ["a", "b"] and not inputs.refused
    (message,) = caplog.messages
    assert "1 picture(s) beside volumes" in message and picture in message
    assert len(find_cases([tmp_path / picture], 1, ".nii.gz").cases) == 1  # which is named by itself


@pytest.mark.parametrize(
    ("names", "ending"),
    [
        (("a.png", "b.jpg"), ".nii.gz"),  # no volume beside them
        (("a.tif", "b.png"), ".nii.gz"),
        (("a.nii.gz", "b.png"), ".png"),  # a model of pictures
        (("a.tif", "b.png"), ".tif"),
    ],
)
def test_pictures_that_may_be_meant_are_cases(names: tuple[str, ...], ending: str, tmp_path: Path) -> None:
    assert list(find_cases([folder_of(tmp_path, *names)], 1, ending).cases) == ["a", "b"]


def test_files_are_asked_for_once_and_few_sub_folders_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Folders of patients beside the images may be thousands, on a network."""
    names = [f"a{number:03d}_0000.nii.gz" for number in range(200)]
    folder_of(tmp_path, *names, *(f"d{number:03d}/{file}.nii" for number in range(100) for file in range(5)))
    calls = dict.fromkeys(("stat", "scandir", "listdir"), 0)

    def count(name: str) -> None:
        original = getattr(os, name)

        def counted(*arguments: object, **options: object) -> object:
            calls[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(os, name, counted)

    for name in calls:
        count(name)
    with caplog.at_level("INFO"):
        assert len(find_cases([tmp_path], 1, ".nii.gz").cases) == len(names)
    assert len(names) <= calls["stat"] < len(names) + 120
    assert calls["scandir"] + calls["listdir"] < 20
    assert "sub-folders are not looked at" in caplog.text and "d000" in caplog.text
